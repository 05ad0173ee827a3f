// Package levertest runs services and a client of theirs in a test: one process, no host, no network, and
// time that the test moves.
//
//	t := levertest.Start(tb, levertest.Options{HoldTime: true}, map[string]*lever.Service{"hello": service})
//	greeting, err := lever.Invoke[string](ctx, t.Client, "/hello/SayHello", "Ann")
//	t.Advance(60 * time.Second)
package levertest

import (
	"encoding/json"
	"testing"
	"time"

	lever "github.com/leveros/lever/bindings/go"
	"github.com/leveros/lever/bindings/go/internal/hooks"
)

// Options say how a test's services run.
type Options struct {
	// Config has for each service what lever.json would have as its `config`: what encoding/json makes
	// JSON of.
	Config map[string]any
	// Secrets has for each service what `lever secret set` would have set.
	Secrets map[string]map[string]string
	// HoldTime has Lever's time stand still, but for Advance: deadlines, timeouts and back-offs. Go's own
	// timers, and so the deadlines of contexts, go on.
	HoldTime bool
}

// A T is what runs in a test. It ends with the test.
type T struct {
	// Client calls the services by their names; others are not found.
	Client *lever.Client

	tb     testing.TB
	inside hooks.Test
}

// Start starts services by their names. It fails the test if it cannot. Everything is closed when the test
// and its subtests are over.
func Start(tb testing.TB, options Options, services map[string]*lever.Service) *T {
	tb.Helper()
	configs := make(map[string]string, len(options.Config))
	for name, config := range options.Config {
		if services[name] == nil {
			tb.Fatalf("levertest: a config for %q, which is no service of this test", name)
		}
		text, err := json.Marshal(config)
		if err != nil {
			tb.Fatalf("levertest: the config of %s: %v", name, err)
		}
		configs[name] = string(text)
	}
	secrets := make(map[string]string, len(options.Secrets))
	for name, texts := range options.Secrets {
		if services[name] == nil {
			tb.Fatalf("levertest: secrets for %q, which is no service of this test", name)
		}
		text, err := json.Marshal(texts)
		if err != nil {
			tb.Fatalf("levertest: the secrets of %s: %v", name, err)
		}
		secrets[name] = string(text)
	}
	inside, err := hooks.Start(services, configs, secrets, options.HoldTime)
	if err != nil {
		tb.Fatalf("levertest: %v", err)
	}
	tb.Cleanup(inside.Close)
	return &T{Client: inside.Client().(*lever.Client), tb: tb, inside: inside}
}

// Advance moves Lever's time, and returns when all that has become due was told to whom it concerns: calls
// that are past their deadlines have ended, and their methods' contexts. It fails the test if time is not
// held, or d is negative.
func (t *T) Advance(d time.Duration) {
	t.tb.Helper()
	if err := t.inside.Advance(d); err != nil {
		t.tb.Fatalf("levertest: Advance(%v): %v", d, err)
	}
}
