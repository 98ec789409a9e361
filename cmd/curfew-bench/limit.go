package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"curfew/internal/proc"

	"github.com/gin-gonic/gin"
)

// bareCommand is the limit's other half: what one HTTP request costs when nothing is done for it.
type bareCommand struct {
	Addr string `arg:""`
}

// Run serves one route of Gin that answers at once.
func (c *bareCommand) Run() error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	ok := func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok"}) }
	e.GET("/readyz", ok)
	e.POST("/oauth2/token", ok)
	e.POST("/oauth2/introspect", ok)
	return (&http.Server{Addr: c.Addr, Handler: e, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}

// loopCommand keeps a CPU busy, and gives it away to whoever wants it.
type loopCommand struct{}

// Run ends with the context.
func (c *loopCommand) Run(ctx context.Context) error {
	proc.LowerPriority(19)
	go func() {
		for ctx.Err() == nil {
		}
	}()
	<-ctx.Done()
	return nil
}

// What pgbench runs: the same row changes, or is read, as for the request, and nothing else is asked.
var (
	limitUpdate = fmt.Sprintf(`UPDATE devices SET refresh_id = gen_random_uuid(), previous_refresh_id = refresh_id,
	rotated_at = :now::bigint,
	issued_at = greatest(:now::bigint, issued_at), expires_at = least(:now::bigint + 2592000000000, ends_at),
	last_seen_at = :now::bigint, ip = ip, user_agent = user_agent
	WHERE id = %s AND refresh_id <> previous_refresh_id AND client_id = 'web'
	RETURNING user_id, scope, issued_at, expires_at`, fmt.Sprintf(deviceIDSQL, ":n::bigint"))
	limitSelect = fmt.Sprintf(`SELECT refresh_id, previous_refresh_id, rotated_at, valid_from, last_seen_at,
	user_id, client_id
	FROM devices WHERE id = %s`, fmt.Sprintf(deviceIDSQL, ":n::bigint"))
)

var tps = regexp.MustCompile(`tps = ([0-9.]+) \(without`)

// pgbench runs a statement on the first devices of a world, at the load's concurrency, and says how many a second it
// does.
func (w *world) pgbench(ctx context.Context, statement string, devices, concurrency int,
	duration time.Duration,
) (float64, error) {
	script := fmt.Sprintf("\\set n random(0, %d)\n\\set now %d\n%s;\n", devices-1, time.Now().UnixMicro(),
		regexp.MustCompile(`\s+`).ReplaceAllString(statement, " "))
	path := filepath.Join(w.rig.cluster.Dir, "script.sql")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		return 0, err
	}
	seconds := max(1, int(duration.Seconds()))
	before := proc.CPUOfTree(w.rig.cluster.PID())
	cmd := w.rig.cluster.Command(ctx, "pgbench", "-n", "-M", "prepared", "-c", strconv.Itoa(concurrency), "-j", "2",
		"-T", strconv.Itoa(seconds), "-f", path, w.name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w: %.2000s", err, out)
	}
	m := tps.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench: %s", out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	cpu := proc.CPUOfTree(w.rig.cluster.PID()) - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	w.pgCPU = float64(cpu.Microseconds()) / (rate * float64(seconds))
	return rate, err
}

// limit is what one HTTP request and one statement allow together.
func limit(bare, pg float64) float64 { return 1 / (1/bare + 1/pg) }
