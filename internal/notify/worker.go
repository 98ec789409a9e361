package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// saveEvery is how often the position is written within an event that ended many devices.
	saveEvery = 200 * time.Millisecond
	// saveRest is the least time between two positions while there is more to tell.
	saveRest = 50 * time.Millisecond
	// deviceBatch is how many devices of one event are looked up at a time, and told before the next.
	deviceBatch = 100
	// atATime is how many devices of one event are told side by side: their order means nothing.
	atATime = 8
)

// errLost: the receiver is gone, or another node's.
var errLost = errors.New("the receiver is not this node's any more")

// worker tells one receiver, in the order of its log.
type worker struct {
	n          *Notifier
	registered atomic.Pointer[models.Receiver] // as an admin registered it, read anew now and then
	receiver   models.Receiver                 // its state; only run touches it
	tail       *tail
	ctx        context.Context
	stop       context.CancelFunc
	ended      atomic.Bool
	failing    atomic.Bool
	telling    atomic.Int64                    // when the event happened that is being told; 0: none
	passed     atomic.Pointer[models.Position] // beyond the written position: nothing there concerns the receiver

	seen     models.Position  // up to here the log has been looked at
	dropping *models.Position // where the range of dropped notices began
	savedAt  time.Time
	unsaved  bool // the position has moved since
}

func (w *worker) run() {
	defer w.ended.Store(true)
	w.seen = w.receiver.Position()
	w.failing.Store(w.receiver.Tries > 0)
	defer func() {
		if err := w.saveUnsaved(); err != nil {
			w.n.log.Warn("a receiver's position could not be written; it is told twice", "receiver_id", w.receiver.ID, "error", err)
		}
	}()
	for w.ctx.Err() == nil {
		err := w.step()
		switch {
		case err == nil, w.ctx.Err() != nil:
		case errors.Is(err, errLost):
			w.unsaved = false
			return
		default:
			w.n.log.Warn("a receiver's turn failed; it is tried again", "receiver_id", w.receiver.ID, "error", err)
			w.sleep(time.Second)
		}
	}
}

func (w *worker) sleep(d time.Duration) {
	select {
	case <-w.ctx.Done():
	case <-time.After(d):
	}
}

// step tells the next events, or waits for some.
func (w *worker) step() error {
	// Its client is deleted, and it was told of all.
	if end := w.registered.Load().EndsAtSeq; end != 0 && w.seen.ID >= end {
		<-w.ctx.Done()
		return nil
	}
	if w.receiver.PosPart != "" { // in the middle of an event
		at := w.receiver.Position()
		o, err := w.n.store.ReadOutbox(w.ctx, w.receiver.Kind, at, true)
		if err != nil {
			return err
		}
		if len(o.Events) == 0 || o.Events[0].At != at { // it is gone with time
			w.receiver.PosPart = ""
			return nil
		}
		return w.tell(&o.Events[0])
	}
	events, from, moved, ok := w.tail.after(w.seen)
	if !ok {
		var o models.Outbox
		err := w.n.statement(func() (err error) {
			o, err = w.n.store.ReadOutbox(w.ctx, w.receiver.Kind, w.seen, false)
			return err
		})
		if err != nil {
			return err
		}
		if events = o.Events; len(events) == 0 && w.seen.Before(from) {
			w.pass(from) // from was read before the log was: there is nothing in between
			return nil
		}
	}
	for i := range events {
		if err := w.tell(&events[i]); err != nil || w.ctx.Err() != nil {
			return err
		}
	}
	if err := w.saveUnsaved(); err != nil {
		return err
	}
	if len(events) == 0 {
		select {
		case <-w.ctx.Done():
		case <-moved:
		}
	}
	return nil
}

// pass notes that nothing up to a position concerns the receiver any more; it is written with those of the others.
func (w *worker) pass(p models.Position) {
	w.seen = p
	w.receiver.PosTX, w.receiver.PosID, w.receiver.PosPart = p.TX, p.ID, ""
	w.passed.Store(&p)
}

// concerned tells whether the receiver has to be told of an event at all.
func (w *worker) concerned(e *models.OutboxEvent) bool {
	r := w.registered.Load()
	if r.Kind == models.ReceiverLogout {
		return e.Clients == nil || slices.Contains(e.Clients, r.ClientID)
	}
	return slices.ContainsFunc(types(e), r.Wants)
}

// tell tells the receiver of one event, all that there is to tell, and writes the position.
func (w *worker) tell(e *models.OutboxEvent) error {
	if end := w.registered.Load().EndsAtSeq; end != 0 && e.At.ID > end || w.receiver.PosPart == "" && !w.concerned(e) {
		w.pass(e.At)
		return nil
	}
	w.passed.Store(nil)
	w.telling.Store(int64(e.Happened))
	defer w.telling.Store(0)
	tell := w.tellWebhook
	if w.receiver.Kind == models.ReceiverLogout {
		tell = w.tellDevices
	}
	// mutant: position-stored-before-the-answer
	told, err := tell(e)
	if err != nil {
		return err
	}
	w.seen = e.At
	w.receiver.PosTX, w.receiver.PosID, w.receiver.PosPart = e.At.TX, e.At.ID, ""
	if !told {
		return w.dropped(e)
	}
	w.dropping = nil
	// While there is more to tell, not every answer is written at once.
	if w.unsaved = time.Since(w.savedAt) < saveRest; w.unsaved {
		return nil
	}
	return w.save()
}

func (w *worker) saveUnsaved() error {
	if !w.unsaved {
		return nil
	}
	return w.save()
}

// save writes the state. It is the only thing that may lose the receiver.
func (w *worker) save() error {
	w.receiver.Node = w.n.node
	w.savedAt, w.unsaved = time.Now(), false
	err := w.n.statement(func() error { return w.n.store.SaveReceiver(w.ctx, &w.receiver) })
	if errors.Is(err, models.ErrNotFound) {
		return errLost
	}
	return err
}

// part writes what of an event has been told, but not for every notice.
func (w *worker) part(e *models.OutboxEvent, part string) error {
	w.receiver.PosTX, w.receiver.PosID, w.receiver.PosPart = e.At.TX, e.At.ID, part
	if time.Since(w.savedAt) < saveEvery {
		return nil
	}
	return w.save()
}

// tooOld: nobody waits for it any more.
func (w *worker) tooOld(e *models.OutboxEvent) bool {
	return w.tail.clock().Sub(e.Happened) > models.NoticeTTL
}

// dropped says that an event was not told in time.
func (w *worker) dropped(e *models.OutboxEvent) error {
	if w.dropping == nil {
		at := e.At
		w.dropping = &at
	}
	w.receiver.Node = w.n.node
	w.receiver.Dropped++
	w.n.Stats.Dropped[kindIndex(w.receiver.Kind)].Add(1)
	err := w.n.store.DropNotices(w.ctx, &w.receiver, *w.dropping, 1)
	if errors.Is(err, models.ErrNotFound) {
		return errLost
	}
	return err
}

// tellWebhook sends the messages that come of an event. told is false if one was too old.
func (w *worker) tellWebhook(e *models.OutboxEvent) (told bool, err error) {
	first := 0
	if n, err := strconv.Atoi(w.receiver.PosPart); err == nil {
		first = n
	}
	kinds := types(e)
	for i, kind := range kinds {
		if i < first || !w.registered.Load().Wants(kind) {
			continue
		}
		if told, err := w.deliver(e, func() (request, error) {
			r, now := w.registered.Load(), time.Now()
			keys, err := w.n.store.WebhookSecrets(r, models.Micros(now.UnixMicro()))
			if err != nil {
				return request{}, errNoSecret
			}
			return webhookRequest(r.URL, messageID(e, kind), newMessage(e, kind), keys, now)
		}); err != nil || !told {
			return told, err
		}
		if i+1 == len(kinds) {
			break // the whole event is told: that is written once
		}
		if err := w.part(e, strconv.Itoa(i+1)); err != nil {
			return false, err
		}
	}
	return true, nil
}

var errNoSecret = errors.New("its secret was sealed with a server secret that is gone; rotate it")

// tellDevices sends a logout token for each device of the client that an event has ended, batch by batch.
func (w *worker) tellDevices(e *models.OutboxEvent) (told bool, err error) {
	after, _ := uuid.Parse(w.receiver.PosPart)
	for w.ctx.Err() == nil {
		list, err := w.n.store.DevicesEndedBy(w.ctx, e.Revocation, w.receiver.ClientID, after, deviceBatch)
		if err != nil || len(list) == 0 {
			return true, err
		}
		if told, err := w.tellBatch(e, list); err != nil || !told {
			return told, err
		}
		if after = list[len(list)-1].ID; len(list) < deviceBatch {
			return true, nil
		}
		if err := w.part(e, after.String()); err != nil {
			return false, err
		}
	}
	return false, w.ctx.Err()
}

// tellBatch tells of devices. The first is told by itself: while the receiver does not answer there is one request.
func (w *worker) tellBatch(e *models.OutboxEvent, list []models.DeviceToTell) (told bool, err error) {
	for len(list) > 0 {
		if told, err := w.deliver(e, w.logout(e, list[0])); err != nil || !told {
			return told, err
		}
		if list = list[1:]; len(list) == 0 {
			return true, nil
		}
		list = w.sideBySide(e, list)
	}
	return true, nil
}

// logout makes the request for one device. One that has signed in again since the batch was read is not to be told: its
// new session has the same sid.
func (w *worker) logout(e *models.OutboxEvent, d models.DeviceToTell) func() (request, error) {
	return func() (request, error) {
		if w.receiver.Tries > 0 {
			ended, err := w.n.store.StillEnded(w.ctx, e.Revocation, d.ID)
			if err == nil && !ended {
				err = errNothing
			}
			if err != nil {
				return request{}, err
			}
		}
		return w.n.logoutRequest(w.registered.Load().URL, w.receiver.ClientID, d, w.tail.clock())
	}
}

// errNothing: there is nothing to be told any more.
var errNothing = errors.New("nothing to tell")

// sideBySide sends for several devices at once and returns those that must be told again.
func (w *worker) sideBySide(e *models.OutboxEvent, list []models.DeviceToTell) (again []models.DeviceToTell) {
	answers := make([]Answer, len(list))
	next := make(chan int, len(list))
	for i := range list {
		next <- i
	}
	close(next)
	finished := make(chan struct{})
	for range min(atATime, len(list)) {
		go func() {
			for i := range next {
				if w.ctx.Err() != nil {
					answers[i].Err = w.ctx.Err()
					continue
				}
				r, err := w.n.logoutRequest(w.registered.Load().URL, w.receiver.ClientID, list[i], w.tail.clock())
				if err != nil {
					answers[i].Err = err
					continue
				}
				answers[i] = w.send(r)
			}
			finished <- struct{}{}
		}()
	}
	for range min(atATime, len(list)) {
		<-finished
	}
	for i, a := range answers {
		if !a.OK() {
			again = append(again, list[i])
			continue
		}
		w.count()
	}
	return again
}

func (w *worker) count() {
	w.receiver.Told++
	w.n.Stats.Told[kindIndex(w.receiver.Kind)].Add(1)
}

func (w *worker) send(r request) Answer {
	end := w.n.turn.take(w.ctx)
	defer end()
	return w.n.client.send(w.n.requests, r)
}

// deliver sends one notice until it is answered, the event is too old, or the worker ends.
func (w *worker) deliver(e *models.OutboxEvent, build func() (request, error)) (told bool, err error) {
	for w.ctx.Err() == nil {
		if w.tooOld(e) {
			return false, nil
		}
		if wait := w.receiver.NextTryAt.Sub(models.Micros(time.Now().UnixMicro())); w.receiver.Tries > 0 && wait > 0 {
			w.sleep(min(wait, maxPause))
			continue
		}
		var answer Answer
		r, err := build()
		if errors.Is(err, errNothing) {
			return true, nil
		}
		if err != nil {
			answer.Err = err
		} else {
			answer = w.send(r)
		}
		if !answer.OK() && w.n.requests.Err() != nil { // cut off by the stop: nobody knows
			return false, w.ctx.Err()
		}
		w.note(answer)
		// mutant: unanswered-notice-counts-as-told
		if answer.OK() {
			return true, nil
		}
		if err := w.save(); err != nil { // how it went; the position stays, with what of the event has been told
			return false, err
		}
	}
	return false, w.ctx.Err()
}

// note takes an answer into the state.
func (w *worker) note(a Answer) {
	now := models.Micros(time.Now().UnixMicro())
	w.receiver.LastTryAt, w.receiver.LastAnswer = now, a.String()
	w.failing.Store(!a.OK())
	if a.OK() {
		w.receiver.Tries, w.receiver.FailingSince, w.receiver.NextTryAt = 0, 0, 0
		w.count()
		return
	}
	w.n.Stats.Failed[kindIndex(w.receiver.Kind)].Add(1)
	if w.receiver.Tries++; w.receiver.Tries == 1 {
		w.receiver.FailingSince = now
		w.n.log.Warn("a receiver does not take a notice; it is tried again", "receiver_id", w.receiver.ID,
			"kind", w.receiver.Kind, "client_id", w.receiver.ClientID, "answer", w.receiver.LastAnswer)
	}
	w.receiver.NextTryAt = now.Add(pause(w.receiver.Tries))
}

// pause grows from about a second to some minutes, and differs from receiver to receiver.
func pause(tries int) time.Duration {
	d := min(firstPause<<min(tries-1, 20), maxPause)
	return d*3/4 + rand.N(d/2)
}
