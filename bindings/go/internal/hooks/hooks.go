// Package hooks is how package levertest reaches what package lever does not offer to programs.
package hooks

import "time"

// A Test is services and a client in one queue, without a host.
type Test interface {
	// Client gives a *lever.Client.
	Client() any
	Advance(d time.Duration) error
	Close()
}

// Start starts services, map[string]*lever.Service, with their configurations and secrets in JSON.
var Start func(services any, configs, secrets map[string]string, holdTime bool) (Test, error)
