package main

import (
	"fmt"

	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/models"
)

type deviceCommands struct {
	List   deviceListCommand   `cmd:"" help:"List devices, the newest first."`
	Rename deviceRenameCommand `cmd:"" help:"Give a device another name."`
	Revoke revokeDeviceCommand `cmd:"" help:"Sign out one device."`
}

// deviceID takes a GUID in its one canonical form.
func deviceID(text string) (uuid.UUID, error) {
	id, ok := view.ParseUUID(text)
	if !ok {
		return uuid.Nil, usage("%q is no device: it must be a GUID like 0198c2f0-7a3e-7c51-9d0a-5b6e1f2a3b4c", text)
	}
	return id, nil
}

type deviceListCommand struct {
	User   string `placeholder:"NAME" help:"Only this user's."`
	Client string `placeholder:"ID" help:"Only this client's."`
	Status string `placeholder:"STATUS" help:"Only active, revoked or expired ones."`
	IP     string `name:"ip" placeholder:"ADDRESS" help:"Only those last seen at this address."`
	Q      string `name:"q" placeholder:"TEXT" help:"Only those with this in their name, user name or user agent."`
	jsonFlag
}

func (c *deviceListCommand) Run(p *program) error {
	filter := models.DeviceFilter{Username: c.User, ClientID: c.Client, Status: c.Status, Q: c.Q}
	if c.IP != "" {
		ip, ok := models.ParseIP(c.IP)
		if !ok {
			return usage("--ip: %q is no address", c.IP)
		}
		filter.IP = ip
	}
	return p.withStore(func(s *models.Store) error {
		devices, err := allPages(func(page models.Page) ([]models.DeviceInfo, string,
			error,
		) {
			return s.ListDevices(p.ctx, filter, page)
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(view.List(devices, view.NewDevice))
		}
		return p.printTable("DEVICE\tUSER\tCLIENT\tNAME\tSTATUS\tADDRESS\tSIGNED IN\tLAST SEEN", func(row func(...any)) {
			for _, d := range devices {
				row(d.ID, d.Username, d.ClientID, d.Name, d.Status, d.IP, moment(d.SignedInAt), moment(d.LastSeenAt))
			}
		})
	})
}

type deviceRenameCommand struct {
	ID   string `arg:"" help:"Its GUID."`
	Name string `arg:"" help:"Its new name."`
	jsonFlag
}

func (c *deviceRenameCommand) Run(p *program) error {
	id, err := deviceID(c.ID)
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		d, err := s.RenameDevice(p.ctx, models.DeviceFilter{ID: id}, c.Name, cliActor)
		if err != nil {
			return naming("device", c.ID, err)
		}
		if c.JSON {
			return p.printJSON(view.NewDevice(d))
		}
		_, err = fmt.Fprintf(p.stdout, "device %s: is called %s\n", d.ID, d.Name)
		return err
	})
}
