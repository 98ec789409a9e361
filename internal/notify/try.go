package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

// TestType is the type of the message that [Notifier.Test] sends.
const TestType = "webhook.test"

// Test sends one message to a webhook, now, whatever it is registered for, and says what came of it. It is not tried
// again and moves no position. It returns [models.ErrNotFound] if there is no such webhook.
func (n *Notifier) Test(ctx context.Context, id uuid.UUID) (Answer, error) {
	r, err := n.store.GetWebhook(ctx, id)
	if err != nil {
		return Answer{}, err
	}
	now := time.Now()
	keys, err := n.store.WebhookSecrets(r, models.Micros(now.UnixMicro()))
	if err != nil {
		return Answer{Err: errNoSecret}, nil
	}
	m := Message{Type: TestType, Timestamp: models.Micros(now.UnixMicro())}
	sent, err := webhookRequest(r.URL, fmt.Sprintf("msg_test_%s", uuid.NewString()), m, keys, now)
	if err != nil {
		return Answer{}, err
	}
	return n.client.send(ctx, sent), nil
}
