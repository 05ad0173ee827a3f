package main

import (
	"context"
	"fmt"
	"testing"

	lever "github.com/leveros/lever/bindings/go"
	"github.com/leveros/lever/bindings/go/levertest"
)

func TestEverybodyHearsWhatIsSaidInTheirRoom(t *testing.T) {
	run := levertest.Start(t, levertest.Options{}, map[string]*lever.Service{"rooms": service()})
	ctx := context.Background()
	streams := make([]*lever.Stream, 4)
	for i := range streams {
		s, err := run.Client.Stream(ctx, fmt.Sprintf("/rooms/room-%d/JoinChan", i%2), -1)
		if err != nil {
			t.Fatal(err)
		}
		var begin int64
		if err := s.Recv(&begin); err != nil || begin != 0 {
			t.Fatal(begin, err)
		}
		streams[i] = s
	}
	for i := range 2 {
		room := fmt.Sprintf("/rooms/room-%d/Say", i)
		if seq, err := lever.Invoke[int64](ctx, run.Client, room, "Ann", room); err != nil || seq != 1 {
			t.Fatal(seq, err)
		}
	}
	for i, s := range streams {
		var got Message
		want := Message{1, "Ann", fmt.Sprintf("/rooms/room-%d/Say", i%2)}
		if err := s.Recv(&got); err != nil || got != want {
			t.Error(got, err)
		}
		s.Close()
	}
}
