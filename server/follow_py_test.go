package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/internal/need"
	"curfew/models"
)

// python is the interpreter for the example.
func python(t *testing.T) string {
	t.Helper()
	return need.Program(t, "python3", "python3")
}

// followPy starts the consumer from the documentation. stop ends it and says what it complained of, if the test has
// failed.
func followPy(
	ctx context.Context, t *testing.T, python, issuer string,
) (stdin io.WriteCloser, stdout io.Reader, stop func()) {
	t.Helper()
	cmd := exec.CommandContext(ctx, python, "../docs/examples/follow.py")
	cmd.Env = append(
		os.Environ(), "ISSUER="+issuer, "CLIENT_ID=api", "CLIENT_SECRET="+apiSecret, "SUBSCRIBER=py-1", "no_proxy=*",
	)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if stdout, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return stdin, stdout, func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("follow.py: %v", err)
		}
		if t.Failed() {
			t.Logf("follow.py said: %s", &complaints)
		}
	}
}

// The consumer from the documentation, run against a real server: at each level a token is alive before the sign-out,
// and revoked as soon as the receipt is there; what is issued afterwards is alive.
func TestFollowPy(t *testing.T) {
	python := python(t)
	forEachDB(t, func(t *testing.T, k *kit) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stdin, stdout, stop := followPy(ctx, t, python, k.url)
		defer stop()
		answers := bufio.NewReader(stdout)
		ask := func(token string) string {
			t.Helper()
			claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stdin.Write(append(claims, '\n')); err != nil {
				t.Fatal(err)
			}
			answer, err := answers.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSuffix(answer, "\n")
		}

		token := k.signIn("anna")
		for ask(token.str("access_token")) == "unknown" {
			time.Sleep(10 * time.Millisecond)
		}
		var user string
		for _, level := range models.Levels {
			before := k.signIn("anna")
			claims := k.introspect(before.str("access_token"))
			user = claims.str("sub")
			if got := ask(before.str("access_token")); got != "alive" {
				t.Fatalf("%s: before the sign-out: %s", level, got)
			}
			var seq int64
			if level == models.LevelDevice {
				seq = k.signOut(before.str("access_token"))
			} else {
				target := map[models.Level]models.Target{
					models.LevelUser: models.WholeUser(uuid.MustParse(user)), models.LevelClient: models.WholeClient("web"),
					models.LevelEveryone: models.Everyone(),
				}[level]
				out, err := k.store.Revoke(ctx, target, models.ReasonRevoked, models.Actor{Entity: models.EntityAdmin})
				if err != nil {
					t.Fatal(err)
				}
				seq = out.Revocation.Seq
			}
			receipt, err := k.store.WaitApplied(ctx, seq)
			if err != nil || receipt.Acknowledged() != 1 {
				t.Fatalf("%s: the receipt: %+v, %v", level, receipt, err)
			}
			if got := ask(before.str("access_token")); got != "revoked" {
				t.Fatalf("%s: after the sign-out: %s", level, got)
			}
			if got := ask(k.signIn("anna").str("access_token")); got != "alive" {
				t.Fatalf("%s: signed in afterwards: %s", level, got)
			}
		}
	})
}

// A server whose log became shorter, restored from a backup, refuses acknowledgements above its end. The consumer
// lets the first heartbeat say where the log ends, and acknowledges that.
func TestFollowPy_ShorterLog(t *testing.T) {
	python := python(t)
	const before, after = 10, 4
	var streams atomic.Int64
	acknowledged, refused := make(chan int, 10), make(chan string, 100)
	stop := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc(
		"POST /oauth2/token", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"access_token":"x"}`) },
	)
	mux.HandleFunc("POST /oauth2/revocations/ack", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Seq int }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || (streams.Load() > 1 && in.Seq > after) {
			refused <- fmt.Sprintf("stream %d: seq %d, %v", streams.Load(), in.Seq, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		acknowledged <- in.Seq
	})
	mux.HandleFunc("GET /oauth2/revocations", func(w http.ResponseWriter, r *http.Request) {
		now, end := time.Now().UnixMicro(), before
		if streams.Add(1) > 1 {
			end = after
		}
		fmt.Fprintf(
			w,
			"event: revocation\ndata: {\"seq\":%d,\"level\":\"client\",\"subject\":\"web\",\"valid_from\":%d,\"expires_at\":%d}\n\n",
			end, now, now+300e6,
		)
		w.(http.Flusher).Flush()
		fmt.Fprintf(w, "event: heartbeat\ndata: {\"seq\":%d,\"time\":%d}\n\n", end, now)
		w.(http.Flusher).Flush()
		if end == after {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(stop)
	_, _, end := followPy(t.Context(), t, python, srv.URL)
	defer end()
	for _, want := range []int{before, after} {
		select {
		case got := <-acknowledged:
			if got != want {
				t.Fatalf("acknowledged %d, want %d", got, want)
			}
		case what := <-refused:
			t.Fatalf("acknowledged what is not in the log: %s", what)
		}
	}
}
