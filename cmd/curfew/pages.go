package main

import (
	"fmt"
	"io"
	"os"

	"curfew/internal/pages"
)

// The look of the pages. Each value is tried at once, so that a wrong one stops the start with its variable's name.

func setPages(c *config, value string) error {
	if value != "on" && value != "off" {
		return fmt.Errorf("%q is neither", value)
	}
	c.pagesOff = value == "off"
	return nil
}

func setPagesName(c *config, value string) error {
	c.pages.Name = value
	_, err := pages.New(pages.Config{Name: value})
	return err
}

// maxLogoFile is a little more than a logo may have.
const maxLogoFile = 512 << 10

func setPagesLogo(c *config, value string) error {
	f, err := os.Open(value)
	if err != nil {
		return err
	}
	defer f.Close()
	if c.pages.Logo, err = io.ReadAll(io.LimitReader(f, maxLogoFile)); err != nil {
		return err
	}
	if len(c.pages.Logo) == 0 {
		return fmt.Errorf("%s is empty", value)
	}
	_, err = pages.New(pages.Config{Logo: c.pages.Logo})
	return err
}

func setPagesAccent(c *config, value string) error {
	c.pages.Accent = value
	_, err := pages.New(pages.Config{Accent: value})
	return err
}

// newPages makes the pages; nil if they are off.
func (c *config) newPages() (*pages.Pages, error) {
	if c.pagesOff {
		return nil, nil
	}
	return pages.New(c.pages)
}
