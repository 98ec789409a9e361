package apitest

import (
	"bytes"
	"context"

	"curfew/models"
)

// Prepare makes an installation with the secret that the tests of the listeners use: a testdb.Prepare.
func Prepare(url string) error {
	cfg := models.Config{DatabaseURL: url, Issuer: "https://curfew.test", Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)}}
	if _, err := models.Migrate(context.Background(), cfg); err != nil {
		return err
	}
	s, err := models.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	return s.Close()
}
