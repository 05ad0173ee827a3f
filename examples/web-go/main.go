// A web server of its own that is an instance of a Lever service as well, and calls services: one process, no
// deploy.
//
//	LEVER_HOST=127.0.0.1:8080 go run . -listen 127.0.0.1:8000
//
//	curl 'http://127.0.0.1:8000/greet?name=Ann'      its web page calls the service /web-go/Greet
//	lever invoke /web-go/Greet '"Ann"'               and so does anybody else
//	lever ps web-go                                  shows it as attached
//
// When the host goes away the web server goes on; when the host is back, the service attaches again. On SIGTERM
// both finish what runs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

type app struct {
	client  *lever.Client
	service *lever.Service
	greeted atomic.Int64
}

func newApp(ctx context.Context) (*app, error) {
	a := &app{service: lever.NewService(lever.ServiceOptions{
		Name:    "web-go",
		OnState: func(state lever.State, err error) { log.Print("lever: ", state, reason(err)) },
	})}
	a.service.Handle("Greet", func(_ context.Context, name string) (string, error) {
		return fmt.Sprintf("Hello, %s! You are number %d.", name, a.greeted.Add(1)), nil
	})
	var err error
	a.client, err = lever.Dial(ctx, lever.Options{})
	return a, err
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// greet calls the service as anybody would. The request's context ends the call when the browser is gone.
func (a *app) greet(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	greeting, err := lever.Invoke[string](ctx, a.client, "/web-go/Greet", r.FormValue("name"))
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	fmt.Fprintln(w, greeting)
}

func statusOf(err error) int {
	var trouble *lever.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.As(err, &trouble) && trouble.Executed == lever.ExecutedNo:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadGateway
	}
}

// state is the web server's own: it needs no host.
func (a *app) state(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("content-type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"lever": a.service.State().String(), "greeted": a.greeted.Load()})
}

func (a *app) run(ctx context.Context, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /greet", a.greet)
	mux.HandleFunc("GET /state", a.state)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	served := make(chan error, 2)
	go func() { served <- web.Serve(listener) }()
	go func() { served <- a.service.Serve(ctx) }() // drains when ctx ends
	fmt.Printf("listening %s\n", listener.Addr())

	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = web.Shutdown(stopping)
	for range 2 {
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
	}
	return errors.Join(err, a.client.Close())
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "the web server's address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a, err := newApp(ctx)
	if err == nil {
		err = a.run(ctx, *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
}
