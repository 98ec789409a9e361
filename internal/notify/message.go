package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

// Message is what a webhook gets, in the form of the Standard Webhooks specification.
type Message struct {
	Type      string        `json:"type"`
	Timestamp models.Micros `json:"timestamp"` // when it happened
	Data      Data          `json:"data"`
}

// Data is what happened. A member that does not belong to the type is left out.
type Data struct {
	Seq        int64  `json:"seq,omitempty"` // of the revocation event
	Level      string `json:"level,omitempty"`
	Reason     string `json:"reason,omitempty"`
	UserID     string `json:"user_id,omitempty"`
	Username   string `json:"username,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	DeviceID   string `json:"device_id,omitempty"`
	DeviceName string `json:"device_name,omitempty"`
	New        *bool  `json:"new,omitempty"` // the device was not known before
	Entity     string `json:"initiating_entity,omitempty"`
	IP         string `json:"ip,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"`
}

// types are those of the messages that come of an audit event, in their order. A replay is both: a theft, and a device
// that has ended.
func types(event *models.OutboxEvent) []string {
	e := event.Audit
	switch e.Type {
	case models.AuditSignedIn, models.AuditSignedInAgain:
		return []string{models.NoticeDeviceSignedIn}
	case models.AuditReplay:
		return []string{models.NoticeReuse, models.NoticeDeviceEnded}
	case models.AuditRevoked, models.AuditCodeReuse:
		switch models.Level(text(e.Detail["level"])) {
		case models.LevelDevice:
			return deviceEnded(event)
		case models.LevelUser:
			return []string{models.NoticeUserOut}
		case models.LevelClient:
			return []string{models.NoticeClientOut}
		case models.LevelEveryone:
			return []string{models.NoticeEveryoneOut}
		}
	case models.AuditPasswordChanged:
		return []string{models.NoticePasswordChanged}
	case models.AuditLimitReached:
		limit := text(e.Detail["limit"])
		if e.UserID != "" && (strings.HasPrefix(limit, "per_account") || limit == "per_device") {
			return []string{models.NoticeLockedOut}
		}
	case models.AuditUserChanged, models.AuditUserDisabled, models.AuditUserEnabled:
		if changed, _ := e.Detail["changed"].([]any); contains(changed, "password") {
			return []string{models.NoticePasswordChanged}
		}
	}
	return nil
}

// deviceEnded: a device that was signed in anew, which ended its older tokens, has not ended.
func deviceEnded(e *models.OutboxEvent) []string {
	switch models.Reason(text(e.Audit.Detail["reason"])) {
	case models.ReasonSignedInAgain:
		return nil
	case models.ReasonPasswordChanged:
		if e.SignedIn {
			return nil
		}
	}
	return []string{models.NoticeDeviceEnded}
}

func text(v any) string { s, _ := v.(string); return s }

func contains(list []any, word string) bool {
	for _, v := range list {
		if v == word {
			return true
		}
	}
	return false
}

// newMessage is the message of one type that comes of an audit event.
func newMessage(e *models.OutboxEvent, kind string) Message {
	a := e.Audit
	m := Message{Type: kind, Timestamp: a.At, Data: Data{
		UserID: a.UserID, Username: e.Username, ClientID: a.ClientID, DeviceID: a.DeviceID, DeviceName: e.DeviceName,
		Entity: a.Entity, IP: a.IP, UserAgent: a.UserAgent,
	}}
	switch kind {
	case models.NoticeDeviceSignedIn:
		isNew := a.Type == models.AuditSignedIn
		m.Data.New = &isNew
	case models.NoticePasswordChanged, models.NoticeLockedOut:
	default:
		m.Data.Level, m.Data.Reason = text(a.Detail["level"]), text(a.Detail["reason"])
		if seq, ok := a.Detail["seq"].(float64); ok {
			m.Data.Seq = int64(seq)
		}
	}
	return m
}

// messageID is the same at every try, and no other message's: numbers of events that a restored database lost come
// again, but not at the same microsecond.
func messageID(e *models.OutboxEvent, kind string) string {
	return fmt.Sprintf("msg_%d.%d.%s", e.Happened, e.At.ID, strings.ReplaceAll(kind, ".", "_"))
}

// webhookRequest signs a message, with each of the keys.
func webhookRequest(address, id string, m Message, keys [][]byte, now time.Time) (request, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return request{}, err
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, key := range keys {
		h := hmac.New(sha256.New, key)
		fmt.Fprintf(h, "%s.%s.%s", id, stamp, body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", stamp)
	header.Set("Webhook-Signature", strings.Join(signatures, " "))
	return request{url: address, header: header, body: body}, nil
}

// logoutTokenLife is how long a logout token is good: two minutes, as the specification advises.
const logoutTokenLife = 2 * time.Minute

// logoutEvent is the member that makes a JWT a logout token, Back-Channel Logout section 2.4.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

type logoutClaims struct {
	Issuer   string              `json:"iss"`
	Subject  string              `json:"sub"`
	Audience string              `json:"aud"`
	IssuedAt int64               `json:"iat"`
	Expires  int64               `json:"exp"`
	ID       string              `json:"jti"`
	Session  string              `json:"sid"`
	Events   map[string]struct{} `json:"events"`
}

// logoutRequest is a logout token for one device. Each try has a token of its own: a client that has seen the one
// before and whose answer was lost takes it for no replay.
func (n *Notifier) logoutRequest(address, client string, d models.DeviceToTell, now models.Micros) (request, error) {
	token, err := n.store.SignIdentity("logout+jwt", logoutClaims{
		Issuer: n.issuer, Subject: d.UserID.String(), Audience: client, IssuedAt: now.Seconds(),
		// mutant: logout-token-without-its-sid
		// mutant: logout-token-with-another-sid
		Expires: now.Add(logoutTokenLife).Seconds(), ID: uuid.NewString(), Session: d.ID.String(),
		Events: map[string]struct{}{logoutEvent: {}},
	}, now)
	if err != nil {
		return request{}, err
	}
	header := http.Header{}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return request{url: address, header: header, body: []byte(url.Values{"logout_token": {token}}.Encode())}, nil
}
