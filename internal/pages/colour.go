package pages

import (
	"fmt"
	"math"
	"strconv"
)

// rgb is a colour of the sRGB space.
type rgb [3]uint8

// The surfaces that the accent colour stands on, the least contrasting ones; they are those of assets/style.css.
var (
	lightest = rgb{0xff, 0xff, 0xff} // text on a button
	light    = rgb{0xf6, 0xf6, 0xf3} // the page
	dark     = rgb{0x1d, 0x1f, 0x27} // a panel on a dark screen
)

const (
	defaultAccent = "#3d4bb8"
	minContrast   = 4.5 // WCAG 2.2, 1.4.3
)

func parseColour(text string) (c rgb, err error) {
	n, err := strconv.ParseUint(text[min(1, len(text)):], 16, 32)
	if err != nil || len(text) != 7 || text[0] != '#' {
		return c, fmt.Errorf("the accent colour %q: it takes the form #rrggbb", text)
	}
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil
}

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast is the contrast ratio of WCAG 2.2, 1 to 21.
func contrast(a, b rgb) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// toWhite mixes a colour with white.
func (c rgb) toWhite(part float64) (out rgb) {
	for i, v := range c {
		out[i] = uint8(math.Round(float64(v) + (255-float64(v))*part))
	}
	return out
}

// accents checks the accent colour and makes the one for dark screens: as much lighter as it takes to be read there.
func accents(text string) (onLight, onDark rgb, err error) {
	if text == "" {
		text = defaultAccent
	}
	c, err := parseColour(text)
	if err != nil {
		return c, c, err
	}
	if ratio := contrast(c, light); ratio < minContrast {
		return c, c, fmt.Errorf("the accent colour %s: its contrast to the page is %.1f, and people need %.1f to read it;"+
			" take a darker one", c, ratio, minContrast)
	}
	onDark = c
	for part := 0.0; contrast(onDark, dark) < 6; part += 0.04 {
		onDark = c.toWhite(part)
	}
	return c, onDark, nil
}
