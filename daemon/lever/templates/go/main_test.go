package main

// Service and client in this process, without a host: `lever test`.

import (
	"errors"
	"io"
	"testing"

	lever "github.com/leveros/lever/bindings/go"
	"github.com/leveros/lever/bindings/go/levertest"
)

func start(t *testing.T) *levertest.T {
	return levertest.Start(t, levertest.Options{}, map[string]*lever.Service{"{{name}}": newService()})
}

func TestSaysHello(t *testing.T) {
	l := start(t)
	greeting, err := lever.Invoke[string](t.Context(), l.Client, "/{{name}}/SayHello", "Ann")
	if err != nil || greeting != "Hello, Ann!" {
		t.Fatal(greeting, err)
	}
}

func TestEchoesWhatItIsSentAfterTheGreeting(t *testing.T) {
	l := start(t)
	s, err := l.Client.Stream(t.Context(), "/{{name}}/EchoChan", "hi")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send("one"); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hi", "one"} {
		var got string
		if err := s.Recv(&got); err != nil || got != want {
			t.Fatal(got, err)
		}
	}
	var more string
	if err := s.Recv(&more); !errors.Is(err, io.EOF) {
		t.Fatal(more, err)
	}
}
