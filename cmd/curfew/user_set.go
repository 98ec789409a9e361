package main

import "curfew/models"

// userSetCommand is what OpenID Connect tells apps of a user.
type userSetCommand struct {
	Name          string  `arg:"" name:"username" help:"User name."`
	FullName      *string `name:"name" help:"What people call the user; empty for none."`
	Email         *string `help:"Address; empty for none. Another one is not verified, unless you say so."`
	EmailVerified *bool   `negatable:"" help:"You have made sure that the address is the user's."`
	jsonFlag
}

func (c *userSetCommand) Run(p *program) error {
	if c.FullName == nil && c.Email == nil && c.EmailVerified == nil {
		return usage("say what to change: --name, --email, --email-verified")
	}
	return p.changeUser(c.Name, "changed", models.UserPatch{
		Name: c.FullName, Email: c.Email, EmailVerified: c.EmailVerified,
	}, receiptFlags{jsonFlag: c.jsonFlag})
}
