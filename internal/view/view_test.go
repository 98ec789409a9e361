package view_test

import (
	"encoding/json"
	"strings"
	"testing"

	"curfew/internal/view"
	"curfew/models"
)

// What must not be seen has no field, and nothing is null that is a list.
func TestViews(t *testing.T) {
	const hash = "secret-hash"
	for name, v := range map[string]any{
		"user":        view.NewUser(&models.User{PasswordHash: hash}),
		"client":      view.NewClient(&models.Client{SecretHash: hash}),
		"no clients":  view.List(nil, view.NewClient),
		"event":       view.NewRevocationEvent(&models.Revocation{Level: models.LevelUser, Actor: hash}),
		"everyone":    view.NewRevocation(&models.Revocation{Level: models.LevelEveryone}),
		"no sign-out": view.NewSignOut(t.Context(), nil, &models.SignOut{}, 0),
	} {
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), hash) {
			t.Errorf("%s: %s, %v", name, text, err)
		}
		want := map[string]string{
			"client": `"grants":[],"scopes":[]`, "no clients": `[]`, "everyone": `"subject":null`,
			"event": `"subject":""`, "no sign-out": `{"revocation":null}`,
		}[name]
		if !strings.Contains(string(text), want) {
			t.Errorf("%s: %s, want %s in it", name, text, want)
		}
	}
}
