package models

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"curfew/internal/password"
)

// product is what somebody who guesses the passwords of its users tries with the year.
const product = "curfew"

// commonLabels are parts of host names that say nothing about whose they are.
var commonLabels = []string{"auth", "login", "internal", "local", "test", "prod"}

// newPolicy is the policy of the configuration, with the words of the context that are known here.
func newPolicy(cfg Config) (*password.Policy, error) {
	cfg.Passwords.Words = append([]string{product}, cfg.Passwords.Words...)
	if issuer, err := url.Parse(cfg.Issuer); err == nil {
		host := issuer.Hostname()
		cfg.Passwords.Words = append(cfg.Passwords.Words, host)
		for _, label := range strings.FieldsFunc(host, func(r rune) bool { return r == '.' || r == '-' }) {
			if !slices.Contains(commonLabels, label) {
				cfg.Passwords.Words = append(cfg.Passwords.Words, label)
			}
		}
	}
	policy, err := password.NewPolicy(cfg.Passwords, cfg.Logger)
	if err != nil {
		return nil, invalid("%w", err)
	}
	return policy, nil
}

// checkNewPassword tells whether it may be set for the user; its errors wrap [ErrPasswordPolicy].
func (s *Store) checkNewPassword(ctx context.Context, password, username string) error {
	if err := s.policy.Check(password, username); err != nil {
		return err
	}
	return s.policy.CheckBreaches(ctx, password)
}

// BreachesUnanswered is how many look-ups of breached passwords failed.
func (s *Store) BreachesUnanswered() int64 { return s.policy.Unanswered.Load() }
