// Talks is tests/e2e/talks/python/service.py in Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"github.com/leveros/lever/bindings/go"
)

type talk struct{}

func openTalk(context.Context, *lever.Opening) (*talk, error) { return new(talk), nil }

func (t *talk) CountChan(s *lever.Stream) error { return goOn(s, 0, 0) }

// Resume implements lever.ResourceResumer.
func (t *talk) Resume(ctx context.Context, s *lever.Stream, token []byte, lastReceived uint64) error {
	var sent, received uint64
	if len(token) > 0 {
		if _, err := fmt.Sscan(string(token), &sent, &received); err != nil {
			return err
		}
	}
	if sent != lastReceived {
		return fmt.Errorf("the caller has %d messages, and its token is that of %d", lastReceived, sent)
	}
	return goOn(s, sent, received)
}

func goOn(s *lever.Stream, sent, received uint64) error {
	write := func(what string) error {
		sent++
		return s.SendResumable([]any{what, sent, received}, fmt.Appendf(nil, "%d %d", sent, received))
	}
	for number, err := range lever.Messages[uint64](s) {
		if errors.Is(err, lever.ErrMoved) {
			return errors.Join(err, write("moved"))
		}
		if err != nil {
			return err
		}
		if received++; number != received {
			return fmt.Errorf("%d has come for %d", number, received)
		}
		if err := write("read"); err != nil {
			return err
		}
	}
	return write("end")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	svc := lever.NewService(lever.ServiceOptions{})
	talks := lever.HandleResource(svc, openTalk, lever.ResourceOptions{})
	talks.HandleStream("count_chan", (*talk).CountChan)
	if err := svc.Serve(ctx); err != nil {
		log.Fatal(err)
	}
}
