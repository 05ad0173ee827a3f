package main

import (
	"context"
	"errors"
	"testing"

	lever "github.com/leveros/lever/bindings/go"
	"github.com/leveros/lever/bindings/go/levertest"
)

func TestHello(t *testing.T) {
	run := levertest.Start(t, levertest.Options{
		Config: map[string]any{"hello-go": map[string]string{"greeting": "Hi"}},
	}, map[string]*lever.Service{"hello-go": service()})
	ctx := context.Background()

	greeting, err := lever.Invoke[string](ctx, run.Client, "/hello-go/SayHello", "Ann")
	if err != nil || greeting != "Hi, Ann!" {
		t.Errorf("%q, %v", greeting, err)
	}

	_, err = lever.Invoke[int64](ctx, run.Client, "/hello-go/Divide", 1, 0)
	var own *lever.MethodError
	if !errors.As(err, &own) || own.Error() != "division by zero" {
		t.Error(err)
	}
}
