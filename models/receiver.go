package models

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// A receiver is an outside app that has to be told of what happened. It follows one log, at its own position, and no
// row is written for a notice: the logs are the outbox (docs/no-survivor.md, invariant 11). This file is what receivers
// there are; outbox.go is how they follow, told.go what a receipt says of them.

// The kinds of receivers.
const (
	ReceiverWebhook = "webhook" // follows the audit log
	ReceiverLogout  = "logout"  // a client with a back-channel logout URI; follows the revocation log
)

// The types of webhook messages.
const (
	NoticeDeviceSignedIn  = "device.signed_in"
	NoticeDeviceEnded     = "device.ended"
	NoticeUserOut         = "user.signed_out"
	NoticeClientOut       = "client.signed_out"
	NoticeEveryoneOut     = "everyone.signed_out"
	NoticeReuse           = "refresh_token.reused"
	NoticeLockedOut       = "user.locked_out"
	NoticePasswordChanged = "user.password_changed"
)

// NoticeTypes are all of them.
var NoticeTypes = []string{
	NoticeDeviceSignedIn, NoticeDeviceEnded, NoticeUserOut, NoticeClientOut, NoticeEveryoneOut, NoticeReuse,
	NoticeLockedOut, NoticePasswordChanged,
}

const (
	// NoticeTTL is how old an event may be and still be told.
	NoticeTTL = 24 * time.Hour
	// secretOverlap is how long messages bear the signature of the secret before too, once it was rotated.
	secretOverlap = 24 * time.Hour
	// maxWebhooks bounds what one event may cost.
	maxWebhooks = 1000
)

// Receiver is a row of those who have to be told.
type Receiver struct {
	ID       uuid.UUID `gorm:"primaryKey"`
	Kind     string
	ClientID string // of a logout receiver
	URL      string `gorm:"column:url"`
	Types    string // of a webhook, separated by spaces; empty for all

	Secret         []byte // of a webhook, sealed
	PreviousSecret []byte
	PreviousUntil  Micros
	SecretID       string

	CreatedAt Micros
	EndsAtSeq int64 // the client is gone: nothing after this event

	PosTX   int64  `gorm:"column:pos_tx"`
	PosID   int64  `gorm:"column:pos_id"`
	PosPart string // what of the event at the position has been told; empty for all

	Node         string // that tells it
	Tries        int    // since the last good answer
	FailingSince Micros
	NextTryAt    Micros
	LastTryAt    Micros
	LastAnswer   string
	Told         int64
	Dropped      int64
}

// Position is the receiver's place in its log.
func (r *Receiver) Position() Position { return Position{TX: r.PosTX, ID: r.PosID} }

// Wants tells whether a webhook is registered for a type.
func (r *Receiver) Wants(kind string) bool {
	return r.Types == "" || slices.Contains(strings.Fields(r.Types), kind)
}

// SecretPrefix marks the secret of a webhook, as the Standard Webhooks specification has it.
const SecretPrefix = "whsec_"

func newWebhookSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret)
	return secret
}

func formatWebhookSecret(secret []byte) string {
	return SecretPrefix + base64.StdEncoding.EncodeToString(secret)
}

func (r *Receiver) sealName() string { return "webhook " + r.ID.String() }

// WebhookSecrets are the keys that sign a webhook's messages now: the newest, and for a while the one before.
func (s *Store) WebhookSecrets(r *Receiver, now Micros) ([][]byte, error) {
	newest, err := s.secret.open(r.SecretID, r.Secret, r.sealName())
	if err != nil {
		return nil, err
	}
	keys := [][]byte{newest}
	if now < r.PreviousUntil {
		if before, err := s.secret.open(r.SecretID, r.PreviousSecret, r.sealName()); err == nil {
			keys = append(keys, before)
		}
	}
	return keys, nil
}

// CheckWebhookURL accepts an https address. http is for the networks of CURFEW_OUTBOUND_ALLOW, which is looked at when
// a message is sent, like every address.
func CheckWebhookURL(url string) error {
	if len(url) > maxURI {
		return invalid("the webhook URL has %d bytes: must be at most %d", len(url), maxURI)
	}
	_, err := parseWebURI("webhook URL", url)
	return err
}

func joinTypes(types []string) (string, error) {
	for i, kind := range types {
		if !slices.Contains(NoticeTypes, kind) {
			return "", invalid("the type %q: must be one of %s", kind, strings.Join(NoticeTypes, ", "))
		}
		if slices.Contains(types[:i], kind) {
			return "", invalid("the type %q is there twice", kind)
		}
	}
	return strings.Join(types, " "), nil
}

// CreateWebhook registers a webhook and returns its secret, which is shown this once. Without types it gets all. It is
// told of what happens from now on.
func (s *Store) CreateWebhook(ctx context.Context, url string, types []string, by Actor) (*Receiver, string, error) {
	if err := CheckWebhookURL(url); err != nil {
		return nil, "", err
	}
	joined, err := joinTypes(types)
	if err != nil {
		return nil, "", err
	}
	r := &Receiver{
		ID: uuid.Must(uuid.NewV7()), Kind: ReceiverWebhook, URL: url, Types: joined, SecretID: s.secret.currentID(),
		PreviousSecret: []byte{},
	}
	secret := newWebhookSecret()
	r.Secret = s.secret.seal(secret, r.sealName())
	err = s.write(ctx, func(tx *gorm.DB) error {
		var n int
		if err := s.row(tx, `SELECT count(*) FROM receivers WHERE kind = @kind`, args{"kind": r.Kind}, &n); err != nil {
			return err
		}
		if n >= maxWebhooks {
			return invalid("there are %d webhooks: that is the most", n)
		}
		if r.CreatedAt, err = s.now(tx); err != nil {
			return err
		}
		end, err := s.auditEnd(tx)
		if err != nil {
			return err
		}
		r.PosTX, r.PosID = end.TX, end.ID
		if err := tx.Create(r).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{
			At: r.CreatedAt, Type: AuditWebhookCreated, Detail: detail{"webhook_id": r.ID, "url": url, "types": joined},
		}, by)
	})
	if err != nil {
		return nil, "", err
	}
	return r, formatWebhookSecret(secret), nil
}

// GetWebhook returns one webhook.
func (s *Store) GetWebhook(ctx context.Context, id uuid.UUID) (*Receiver, error) {
	var r Receiver
	err := s.read(ctx, func(tx *gorm.DB) error {
		return tx.Where("id = ? AND kind = ?", id, ReceiverWebhook).Take(&r).Error
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// RotateWebhookSecret gives a webhook a new secret. For a day its messages are signed with the one before too.
func (s *Store) RotateWebhookSecret(ctx context.Context, id uuid.UUID, by Actor) (string, error) {
	secret := newWebhookSecret()
	err := s.write(ctx, func(tx *gorm.DB) error {
		var r Receiver
		if err := s.raw(tx, `SELECT * FROM receivers WHERE id = @id AND kind = @kind {lock}`,
			args{"id": id, "kind": ReceiverWebhook}).Take(&r).Error; err != nil {
			return err
		}
		now, err := s.now(tx)
		if err != nil {
			return err
		}
		previous := []byte{}
		if before, err := s.secret.open(r.SecretID, r.Secret, r.sealName()); err == nil {
			previous = s.secret.seal(before, r.sealName())
		}
		if _, err := s.exec(tx, `UPDATE receivers SET secret = @secret, previous_secret = @previous, previous_until = @until,
				secret_id = @by WHERE id = @id`, args{
			"id": id, "secret": s.secret.seal(secret, r.sealName()), "previous": previous, "by": s.secret.currentID(),
			"until": now.Add(secretOverlap),
		}); err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: now, Type: AuditWebhookSecret, Detail: detail{"webhook_id": id}}, by)
	})
	if err != nil {
		return "", err
	}
	return formatWebhookSecret(secret), nil
}

// DeleteWebhook forgets a webhook, and what it was not told yet.
func (s *Store) DeleteWebhook(ctx context.Context, id uuid.UUID, by Actor) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		var now Micros
		var url string
		if err := s.row(tx, `DELETE FROM receivers WHERE id = @id AND kind = @kind RETURNING url, {now}`,
			args{"id": id, "kind": ReceiverWebhook}, &url, &now); err != nil {
			return err
		}
		if _, err := s.exec(tx, `DELETE FROM dropped_notices WHERE receiver_id = @id`, args{"id": id}); err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{
			At: now, Type: AuditWebhookDeleted, Detail: detail{"webhook_id": id, "url": url},
		}, by)
	})
}

// sealWebhooks seals the secrets of an older server secret anew. One that none opens is lost: its messages fail until
// it is rotated.
func (s *Store) sealWebhooks(ctx context.Context) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		var list []*Receiver
		if err := s.raw(tx, `SELECT * FROM receivers WHERE kind = @kind AND secret_id <> @id {lock}`,
			args{"kind": ReceiverWebhook, "id": s.secret.currentID()}).Scan(&list).Error; err != nil {
			return err
		}
		for _, r := range list {
			a := args{"id": r.ID, "by": s.secret.currentID(), "previous": []byte{}}
			newest, err := s.secret.open(r.SecretID, r.Secret, r.sealName())
			if err != nil {
				continue
			}
			a["secret"] = s.secret.seal(newest, r.sealName())
			if before, err := s.secret.open(r.SecretID, r.PreviousSecret, r.sealName()); err == nil {
				a["previous"] = s.secret.seal(before, r.sealName())
			}
			if _, err := s.exec(tx, `UPDATE receivers SET secret = @secret, previous_secret = @previous, secret_id = @by
				WHERE id = @id`, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepLogoutReceiver makes the receiver of a client what the client's back-channel logout URI says.
func (s *Store) keepLogoutReceiver(tx *gorm.DB, c *Client) error {
	a := args{"client": c.ID, "kind": ReceiverLogout, "url": c.BackchannelLogoutURI, "id": uuid.Must(uuid.NewV7())}
	if c.BackchannelLogoutURI == "" {
		_, err := s.exec(tx, `DELETE FROM receivers WHERE client_id = @client AND kind = @kind AND ends_at_seq = 0`, a)
		return err
	}
	n, err := s.exec(tx, `UPDATE receivers SET url = @url
		WHERE client_id = @client AND kind = @kind AND ends_at_seq = 0`, a)
	if err != nil || n > 0 {
		return err
	}
	a["empty"] = []byte{}
	_, err = s.exec(tx, `INSERT INTO receivers (id, kind, client_id, url, types, secret, previous_secret, previous_until,
			secret_id, created_at, ends_at_seq, pos_tx, pos_id, pos_part, node, tries, failing_since, next_try_at, last_try_at,
			last_answer, told, dropped)
		SELECT @id, @kind, @client, @url, '', @empty, @empty, 0, '', {now}, 0, 0, r.last_seq, '', '', 0, 0, 0, 0, '', 0, 0
		FROM realm r`, a)
	return err
}

// endLogoutReceiver: a client that is deleted is told of what it has to be told until then.
func (s *Store) endLogoutReceiver(tx *gorm.DB, client string, seq int64) error {
	_, err := s.exec(tx, `UPDATE receivers SET ends_at_seq = @seq WHERE client_id = @client AND kind = @kind
		AND ends_at_seq = 0`, args{"client": client, "kind": ReceiverLogout, "seq": seq})
	return err
}

// ReceiverState is a receiver with what is left to tell it.
type ReceiverState struct {
	Receiver
	Behind      int    // events of its log that it has not come to, counted up to [MaxBehind]; few of them may concern it
	BehindSince Micros // when the oldest of them happened; 0 for none
	Now         Micros
}

// MaxBehind bounds how far the events that a receiver has not come to are counted.
const MaxBehind = 1000

// ListReceivers returns the receivers of a kind, or all for the empty one, the newest first, with how far behind each
// is. Those of deleted clients come last.
func (s *Store) ListReceivers(ctx context.Context, kind string) (list []ReceiverState, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT w.*, {now} AS now FROM receivers w, realm r WHERE (@kind = '' OR w.kind = @kind)
			ORDER BY CASE WHEN w.ends_at_seq = 0 THEN 0 ELSE 1 END, w.id DESC`, args{"kind": kind}).Scan(&list).Error
	})
	if err != nil {
		return nil, err
	}
	// Those that are up to date are all at the same place: one look serves them.
	type place struct {
		kind string
		pos  Position
	}
	seen := map[place]*ReceiverState{}
	for i := range list {
		r := &list[i]
		at := place{r.Kind, Position{TX: r.PosTX, ID: r.PosID}}
		if same := seen[at]; same != nil {
			r.Behind, r.BehindSince = same.Behind, same.BehindSince
		} else if err := s.howFarBehind(ctx, r); err != nil {
			return nil, err
		}
		seen[at] = r
	}
	return list, nil
}

// GetReceiverState is a receiver of a kind, or of any for the empty one, with what is left to tell it.
func (s *Store) GetReceiverState(ctx context.Context, kind string, id uuid.UUID) (*ReceiverState, error) {
	var state ReceiverState
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT w.*, {now} AS now FROM receivers w WHERE w.id = @id AND (@kind = '' OR w.kind = @kind)`,
			args{"id": id, "kind": kind}).Take(&state).Error
	})
	if err != nil {
		return nil, err
	}
	return &state, s.howFarBehind(ctx, &state)
}

func (s *Store) howFarBehind(ctx context.Context, r *ReceiverState) error {
	return s.read(ctx, func(tx *gorm.DB) error {
		a := args{"tx": r.PosTX, "id": r.PosID, "most": MaxBehind}
		rest := `SELECT seq, created_at AS at FROM revocations WHERE seq > @id ORDER BY seq LIMIT @most`
		if r.Kind == ReceiverWebhook {
			rest = s.auditAfter(`id AS seq, at`)
		}
		return s.row(tx, `SELECT count(*), coalesce(min(q.at), 0) FROM (`+rest+`) q`, a, &r.Behind, &r.BehindSince)
	})
}
