package main

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/server/mail"
)

// mails returns who sends invitations; nil where the options name no server.
func (o options) mails() (*mail.Sender, error) {
	if o.smtpURL == "" {
		if o.smtpFrom != "" || o.smtpPasswordFile != "" {
			return nil, fault.Errorf(fault.Usage, "--smtp-from and --smtp-password-file go with --smtp-url")
		}
		return nil, nil
	}
	c, err := mail.ParseURL(o.smtpURL)
	if err != nil {
		return nil, err
	}
	if o.smtpFrom == "" {
		return nil, fault.Errorf(fault.Usage, "--smtp-url wants a sender too: give --smtp-from, as parsec@example.com")
	}
	if c.From, err = mail.ParseSender(o.smtpFrom); err != nil {
		return nil, err
	}
	if c.Password, err = secretOf("smtp_password", c.Password, o.smtpPasswordFile); err != nil {
		return nil, err
	}
	if c.Password != "" && c.User == "" {
		return nil, fault.Errorf(fault.Usage, "--smtp-url names no user whose password it could be, as smtps://parsec@mail.example.com")
	}
	return mail.New(c), nil
}

// checkMail reaches the mail server, and sends nothing.
func checkMail(ctx context.Context, mails *mail.Sender) []finding {
	if mails == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return []finding{found("mail", mails.Check(ctx), mails.Address()+" lets the sender in")}
}
