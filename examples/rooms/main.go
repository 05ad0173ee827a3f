// Chat rooms in Go. Each is a resource: /rooms/<room>/<method> goes to the one instance that owns the room, so
// that all who are in it meet there.
//
//	lever deploy examples/rooms
//	lever stream /rooms/lobby/JoinChan -1
//	lever invoke /rooms/lobby/Say '"Ann"' '"Hello!"'
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"sync"
	"syscall"

	lever "github.com/leveros/lever/bindings/go"
)

const (
	historyMax = 1000 // messages that a room remembers: who is further behind has missed some
	textMax    = 500  // bytes of a message, so that all of them fit into the 1 MiB that a resource may carry
)

// A Message is something that was said. They are numbered from 1.
type Message struct {
	Seq  int64  `msgpack:"seq"`
	From string `msgpack:"from"`
	Text string `msgpack:"text"`
}

// A Room is what is said in it. Any number of goroutines read along.
type Room struct {
	name   string
	origin lever.Origin

	mu      sync.Mutex
	last    int64     // the number of the last message
	history []Message // the newest ones, up to that; none of it is ever changed
	more    chan struct{}
}

// carried is what a room is closed and opened with.
type carried struct {
	Last    int64     `msgpack:"last"`
	History []Message `msgpack:"history"`
}

func open(_ context.Context, o *lever.Opening) (*Room, error) {
	var state carried // stays empty unless the room was carried
	if err := o.State(&state); err != nil {
		return nil, err
	}
	return &Room{name: o.Name, origin: o.Origin, last: state.Last, history: state.History, more: make(chan struct{})}, nil
}

// Close gives what the room's next owner opens it with.
func (r *Room) Close(context.Context, lever.CloseReason) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return carried{r.last, r.history}, nil
}

// Say tells everybody in the room, and gives the message's number.
func (r *Room) Say(from, text string) (int64, error) {
	if len(from)+len(text) > textMax {
		return 0, fmt.Errorf("that is too long: %d bytes are the most", textMax)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	if len(r.history) == historyMax {
		r.history = append(r.history[:0:0], r.history[1:]...)
	}
	r.history = append(r.history, Message{r.last, from, text})
	close(r.more)
	r.more = make(chan struct{})
	return r.last, nil
}

// JoinChan sends each message after the one of that number, once and in order; -1: those that come from now
// on. First comes the number that it begins after. Who was cut off by a move of the room joins again with
// the last number that he got.
func (r *Room) JoinChan(ctx context.Context, s *lever.Stream, after int64) error {
	if after < 0 {
		after = r.lastSeq()
	}
	if err := s.Send(after); err != nil {
		return err
	}
	for {
		messages, more, err := r.since(after)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
			after = m.Seq
		}
		if len(messages) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// since gives the messages after one, and what is closed when there are more.
func (r *Room) since(after int64) ([]Message, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	missing := r.last - after
	if missing < 0 || missing > int64(len(r.history)) {
		return nil, nil, errors.New("messages are gone that you have not got")
	}
	return r.history[int64(len(r.history))-missing:], r.more, nil
}

func (r *Room) lastSeq() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// About tells of the room.
func (r *Room) About(ctx context.Context) map[string]any {
	return map[string]any{"room": r.name, "origin": r.origin.String(), "generation": lever.Generation(ctx), "last": r.lastSeq()}
}

func service() *lever.Service {
	svc := lever.NewService(lever.ServiceOptions{})
	rooms := lever.HandleResource(svc, open, lever.ResourceOptions{})
	rooms.Handle("Say", (*Room).Say)
	rooms.Handle("About", (*Room).About)
	rooms.HandleStream("JoinChan", (*Room).JoinChan)
	return svc
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := service().Serve(ctx); err != nil {
		log.Fatal(err)
	}
}
