// Load for the rooms of the directory above, and a check of what comes of it:
//
//	go run ./load [-subscribers 500] [-messages 200] [-speakers 4] [-room lobby]
//
// Subscribers join one room by a stream each; speakers say something as fast as they are answered. Each
// subscriber has to get each message once, in order, also where the room moves meanwhile: who is cut off by
// that joins again. Prints one line of JSON, and exits with 1 if something was wrong. LEVER_HOST is the
// host's address.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

type message struct {
	Seq  int64  `msgpack:"seq"`
	From string `msgpack:"from"`
	Text string `msgpack:"text"`
}

type load struct {
	client *lever.Client
	room   string
	total  int
	again  atomic.Int64 // streams that were opened again
}

func main() {
	subscribers := flag.Int("subscribers", 500, "streams of the room")
	messages := flag.Int("messages", 200, "what is said, by all speakers together")
	speakers := flag.Int("speakers", 4, "how many speak at a time")
	room := flag.String("room", "lobby", "which room")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client, err := lever.Dial(ctx, lever.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	each := *messages / *speakers
	l := &load{client: client, room: "/rooms/" + *room, total: each * *speakers}
	if err := l.run(ctx, *subscribers, *speakers, each); err != nil {
		log.Print(err)
		os.Exit(1)
	}
}

func (l *load) run(ctx context.Context, subscribers, speakers, each int) error {
	about, err := lever.Invoke[struct {
		Last int64 `msgpack:"last"`
	}](ctx, l.client, l.room+"/About")
	if err != nil {
		return err
	}
	var joined, heard sync.WaitGroup
	failures := make([]error, subscribers+speakers)
	for i := range subscribers {
		joined.Add(1)
		heard.Add(1)
		go func() {
			defer heard.Done()
			failures[i] = l.listen(ctx, about.Last, sync.OnceFunc(joined.Done))
		}()
	}
	joined.Wait()
	began := time.Now()
	var spoken sync.WaitGroup
	for i := range speakers {
		spoken.Add(1)
		go func() {
			defer spoken.Done()
			failures[subscribers+i] = l.speak(ctx, fmt.Sprint("speaker-", i), each)
		}()
	}
	spoken.Wait()
	heard.Wait()
	took := time.Since(began)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"subscribers": subscribers, "messages": l.total, "deliveries": subscribers * l.total,
		"joined_again": l.again.Load(), "deliveries_per_s": int(float64(subscribers*l.total) / took.Seconds()),
	})
	return errors.Join(failures...)
}

func (l *load) speak(ctx context.Context, name string, count int) error {
	for i := range count {
		if _, err := lever.Invoke[int64](ctx, l.client, l.room+"/Say", name, fmt.Sprint(i)); err != nil {
			return fmt.Errorf("%s, message %d: %w", name, i, err)
		}
	}
	return nil
}

// listen gets as many messages as are said, each once and those of one speaker in their order.
func (l *load) listen(ctx context.Context, after int64, joined func()) error {
	defer joined()
	last := after + int64(l.total)
	spoken := map[string]int{} // by speaker: how many
	for {
		err := l.follow(ctx, &after, last, spoken, joined)
		var trouble *lever.Error
		if err == nil || !errors.As(err, &trouble) || trouble.Code != lever.CodeUnavailable {
			return err
		}
		l.again.Add(1) // the room has moved
	}
}

func (l *load) follow(ctx context.Context, after *int64, last int64, spoken map[string]int, joined func()) error {
	s, err := l.client.Stream(ctx, l.room+"/JoinChan", *after)
	if err != nil {
		return err
	}
	defer s.Close()
	var begin int64
	if err := s.Recv(&begin); err != nil {
		return err
	}
	joined()
	for *after < last {
		var m message
		if err := s.Recv(&m); err != nil {
			return err
		}
		if m.Seq != *after+1 {
			return fmt.Errorf("message %d came after %d", m.Seq, *after)
		}
		if want := fmt.Sprint(spoken[m.From]); m.Text != want {
			return fmt.Errorf("%s said %q where %q was expected", m.From, m.Text, want)
		}
		spoken[m.From]++
		*after = m.Seq
	}
	return nil
}
