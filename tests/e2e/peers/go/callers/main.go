// Callers of resources that know nothing of Lever: gRPC by grpc-go and HTTP/1.1 by net/http, at a steady rate and
// without resending anything.
//
//	plain-callers --host ADDR --service NAME [--resources 200] [--rate 300] [--streams 100]
//
// Half of the calls are gRPC, half are HTTP. Each is started when it is due, however many are under way, and timed
// from then. Each stream watches a resource, and is opened again when it has ended. On standard input a `b` begins a
// move and an `e` ends it: the longest call that each resource had in between is a pause, as its callers see it. When
// the input ends it waits for what is under way, compares what was acknowledged with what is there, and prints one line
// of JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"lever/tests/peers/leverpb"
)

const (
	timeout     = 60 * time.Second
	tick        = time.Millisecond
	reopenAfter = 20 * time.Millisecond
)

type callers struct {
	host, service string
	resources     int
	calls         leverpb.LeverClient
	streams       leverpb.LeverClient // over a connection of their own, whose streams they use up
	http          *http.Client

	mutex        sync.Mutex
	latencies    []time.Duration
	longest      map[string]time.Duration // of each resource in this move; nil between moves
	pauses       []time.Duration
	failures     map[string]int
	acknowledged map[string]int64
	streamEnds   map[string]int
	messages     int
}

func (c *callers) context(ctx context.Context, method, resource string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "lever-url", "/"+c.service+"/"+method, "lever-resource", resource)
}

func valueOf(arguments ...any) *leverpb.Message {
	if arguments == nil {
		arguments = []any{}
	}
	packed, err := msgpack.Marshal(arguments)
	if err != nil {
		panic(err)
	}
	return &leverpb.Message{Body: &leverpb.Message_Value{Value: packed}}
}

func (c *callers) invoke(method, resource string, arguments ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	reply, err := c.calls.Invoke(c.context(ctx, method, resource), valueOf(arguments...))
	if err != nil {
		return 0, fmt.Errorf("gRPC %s: %s", status.Code(err), status.Convert(err).Message())
	}
	var number int64
	if err := msgpack.Unmarshal(reply.GetValue(), &number); err != nil {
		return 0, fmt.Errorf("gRPC: an answer that is no number: %v", reply)
	}
	return number, nil
}

func (c *callers) post(resource string) error {
	reply, err := c.http.Post("http://"+c.host+"/"+c.service+"/"+resource+"/add", "application/json",
		bytes.NewReader([]byte("[1]")))
	if err != nil {
		return fmt.Errorf("HTTP: %w", err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return fmt.Errorf("HTTP: %w", err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d: %s", reply.StatusCode, body)
	}
	return nil
}

func (c *callers) name(number int) string { return fmt.Sprintf("r%d", number%c.resources) }

func (c *callers) add(number int, due time.Time) {
	resource := c.name(number)
	var err error
	if number%2 == 1 {
		_, err = c.invoke("add", resource, 1)
	} else {
		err = c.post(resource)
	}
	took := time.Since(due)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.latencies = append(c.latencies, took)
	if c.longest != nil {
		c.longest[resource] = max(c.longest[resource], took)
	}
	if err != nil {
		c.failures[err.Error()]++
	} else {
		c.acknowledged[resource]++
	}
}

// watch keeps a stream of the resource open until ctx ends.
func (c *callers) watch(ctx context.Context, resource string) {
	for ctx.Err() == nil {
		err := c.watchOnce(ctx, resource)
		if ctx.Err() != nil {
			return
		}
		c.mutex.Lock()
		c.streamEnds[nameOf(status.Code(err))]++
		c.mutex.Unlock()
		time.Sleep(reopenAfter)
	}
}

func (c *callers) watchOnce(ctx context.Context, resource string) error {
	stream, err := c.streams.Stream(c.context(ctx, "watchChan", resource))
	if err != nil {
		return err
	}
	if err := stream.Send(valueOf()); err != nil && err != io.EOF {
		return err
	}
	for {
		if _, err := stream.Recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		c.mutex.Lock()
		c.messages++
		c.mutex.Unlock()
	}
}

// nameOf is the code as gRPC's specification writes it.
func nameOf(code codes.Code) string {
	switch code {
	case codes.OK:
		return "OK"
	case codes.Unavailable:
		return "UNAVAILABLE"
	}
	return code.String()
}

func (c *callers) beginMove() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.longest = map[string]time.Duration{}
}

func (c *callers) endMove() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, longest := range c.longest {
		c.pauses = append(c.pauses, longest)
	}
	c.longest = nil
}

// listen follows standard input; the channel closes at its end.
func (c *callers) listen() <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		var byte [1]byte
		for {
			if _, err := os.Stdin.Read(byte[:]); err != nil {
				return
			}
			switch byte[0] {
			case 'b':
				c.beginMove()
			case 'e':
				c.endMove()
			}
		}
	}()
	return over
}

func milliseconds(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := min(len(sorted)-1, int(share*float64(len(sorted))))
	return float64(sorted[at].Microseconds()) / 1000
}

func (c *callers) lost() (int64, error) {
	var lost int64
	for resource, acknowledged := range c.acknowledged {
		there, err := c.invoke("get", resource)
		if err != nil {
			return 0, err
		}
		lost += max(0, acknowledged-there)
	}
	return lost, nil
}

func (c *callers) run(rate, streams int) (map[string]any, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watching, calling sync.WaitGroup
	for i := range streams {
		watching.Go(func() { c.watch(ctx, c.name(i)) })
	}
	over := c.listen()
	began, calls := time.Now(), 0
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for running := true; running; {
		select {
		case <-over:
			running = false
		case <-ticks.C:
			for ; calls < int(time.Since(began).Seconds()*float64(rate)); calls++ {
				number, due := calls, began.Add(time.Duration(float64(calls)/float64(rate)*float64(time.Second)))
				calling.Go(func() { c.add(number, due) })
			}
		}
	}
	calling.Wait()
	cancel()
	watching.Wait()
	lost, err := c.lost()
	if err != nil {
		return nil, err
	}
	failed := 0
	for _, count := range c.failures {
		failed += count
	}
	slices.Sort(c.latencies)
	slices.Sort(c.pauses)
	return map[string]any{
		"calls": calls, "failed": failed, "failures": c.failures, "lost": lost,
		"p50_ms": milliseconds(c.latencies, 0.5), "p99_ms": milliseconds(c.latencies, 0.99),
		"max_ms": milliseconds(c.latencies, 1), "pauses": len(c.pauses),
		"pause_p50_ms": milliseconds(c.pauses, 0.5), "pause_p99_ms": milliseconds(c.pauses, 0.99),
		"pause_max_ms": milliseconds(c.pauses, 1), "streams": streams, "stream_messages": c.messages,
		"stream_ends": c.streamEnds,
	}, nil
}

func main() {
	c := &callers{failures: map[string]int{}, acknowledged: map[string]int64{}, streamEnds: map[string]int{}}
	flag.StringVar(&c.host, "host", "127.0.0.1:8080", "host:port")
	flag.StringVar(&c.service, "service", "", "whose resources are called")
	flag.IntVar(&c.resources, "resources", 200, "how many of them")
	rate := flag.Int("rate", 300, "calls a second")
	streams := flag.Int("streams", 100, "streams that are open")
	flag.Parse()
	for _, client := range []*leverpb.LeverClient{&c.calls, &c.streams} {
		connection, err := grpc.NewClient(c.host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		*client = leverpb.NewLeverClient(connection)
	}
	c.http = &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 10_000}}
	result, err := c.run(*rate, *streams)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
