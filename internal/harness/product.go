package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"curfew/internal/pgcluster"
)

// Product is an installation: a binary, its settings, and a folder for the logs of its nodes.
type Product struct {
	Binary   string
	Dir      string
	Settings map[string]string // CURFEW_ variables without the prefix
	Extra    []string          // other variables, NAME=VALUE
}

// With is the same installation with some settings changed.
func (p Product) With(settings map[string]string) Product {
	all := maps.Clone(p.Settings)
	maps.Copy(all, settings)
	p.Settings = all
	return p
}

// environment is this process's without its own CURFEW_ variables, and the settings.
func (p Product) environment() (env []string) {
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CURFEW_") {
			env = append(env, kv)
		}
	}
	env = append(env, p.Extra...)
	for name, value := range p.Settings {
		env = append(env, "CURFEW_"+name+"="+value)
	}
	return env
}

// Run runs the product's command line; what a --json command answers goes into answer, unless that is nil.
func (p Product) Run(ctx context.Context, stdin string, answer any, args ...string) error {
	cmd := exec.CommandContext(ctx, p.Binary, args...)
	cmd.Env, cmd.Stdin = p.environment(), strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fmt.Errorf("curfew %s: %w: %s%s", strings.Join(args, " "), err, stderr.Bytes(), text)
	}
	return nil
}

// Node is one `curfew serve`.
type Node struct {
	*Process // nil before it is started
	Product
	Number        int
	Public, Admin string // host:port
}

// NewNode is a node that is not started yet.
func (p Product) NewNode(number int, public, admin string) *Node {
	return &Node{
		Product: p.With(map[string]string{"PUBLIC_ADDR": public, "ADMIN_ADDR": admin}), Number: number,
		Public: public, Admin: admin,
	}
}

// Start runs the node. One that has ended may be started again: its log goes on.
func (n *Node) Start() (err error) {
	n.Process, err = Start(filepath.Join(n.Dir, fmt.Sprintf("node%d.log", n.Number)), n.environment(), n.Binary, "serve")
	return err
}

// NewSecret is a value for SECRET.
func NewSecret() string {
	random := make([]byte, 32)
	rand.Read(random)
	return hex.EncodeToString(random)
}

// CreateDatabase makes an empty database and says where it is.
func CreateDatabase(ctx context.Context, cluster *pgcluster.Cluster, name string) (url string, err error) {
	return cluster.URL(name), Exec(ctx, cluster.URL("postgres"), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
}

// Exec runs statements on a connection of its own.
func Exec(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
