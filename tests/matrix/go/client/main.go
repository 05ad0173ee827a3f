// The client of the matrix in Go: tests/matrix/README.md says how it is called and what it prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"matrix/describe"

	lever "github.com/leveros/lever/bindings/go"
)

// A matrix is what the cases work with.
type matrix struct {
	client  *lever.Client
	options lever.Options
	service string
	way     string
}

func (m *matrix) at(method string) string { return "/" + m.service + "/" + method }

func invoke[T any](m *matrix, method string, arguments ...any) (T, error) {
	return lever.Invoke[T](context.Background(), m.client, m.at(method), arguments...)
}

func expect(is, wanted any, what string) error {
	if is != wanted {
		return fmt.Errorf("%s: %.300v, not %.300v", what, is, wanted)
	}
	return nil
}

// expected gives what a value is at the service, and what it is here.
func expected(entry json.RawMessage) (there, here string) {
	if json.Unmarshal(entry, &here) == nil {
		return here, here
	}
	var by map[string]string
	if err := json.Unmarshal(entry, &by); err != nil {
		log.Fatal(err)
	}
	here = by["any"]
	for _, key := range []string{"go", os.Getenv("SERVICE_LANGUAGE"), "any"} {
		if text, ok := by[key]; ok {
			return text, here
		}
	}
	return here, here
}

func valueCase(name string, entry json.RawMessage) func(*matrix) error {
	return func(m *matrix) error {
		value, known := values[name]
		if !known {
			return errors.New("this client has no such value")
		}
		there, here := expected(entry)
		got, err := invoke[string](m, "describe", value)
		if err != nil {
			return err
		}
		back, err := invoke[any](m, "echo", value)
		if err != nil {
			return err
		}
		return errors.Join(expect(describe.Value(value), here, "the value here"),
			expect(got, there, "what the service got"), expect(describe.Value(back), there, "what came back"))
	}
}

func (m *matrix) awaitIntroduction() error {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := invoke[any](m, "echo", 1); err != nil {
			return err
		}
		if m.client.Stats().CallsDirect > 0 {
			return nil
		}
	}
	return errors.New("calls do not go straight to the service")
}

func parse(words []string) (m *matrix, file string, only map[string]bool) {
	m, only = &matrix{}, map[string]bool{}
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "--introduced" || word == "--through-host" || word == "--tcp":
			m.way = word
		case word == "--values" && i+1 < len(words):
			i++
			file = words[i]
		case word == "--only" && i+1 < len(words):
			i++
			for _, name := range strings.Split(words[i], ",") {
				only[name] = true
			}
		case !strings.HasPrefix(word, "-") && m.service == "":
			m.service = word
		default:
			m.service = ""
		}
	}
	if m.service == "" || file == "" || m.way == "" {
		fmt.Fprintln(os.Stderr, "usage: client SERVICE --values FILE [--only CASE,...] --introduced|--through-host|--tcp")
		os.Exit(2)
	}
	return m, file, only
}

func main() {
	log.SetFlags(0)
	m, file, only := parse(os.Args[1:])
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	var listed map[string]json.RawMessage
	if err := json.Unmarshal(text, &listed); err != nil {
		log.Fatal(err)
	}
	for name, entry := range listed {
		cases["value."+name] = valueCase(name, entry)
	}
	if m.way == "--tcp" {
		delete(cases, "unknown.service")
	}
	m.options = lever.Options{OnlyThroughHost: m.way == "--through-host"}
	if m.client, err = lever.Dial(context.Background(), m.options); err != nil {
		log.Fatal(err)
	}
	if m.way == "--introduced" {
		if err := m.awaitIntroduction(); err != nil {
			log.Fatal(err)
		}
	}
	failed := false
	for name, run := range cases {
		if len(only) > 0 && !only[name] {
			continue
		}
		line := map[string]any{"case": name, "ok": true}
		if err := run(m); err != nil {
			failed = true
			line["ok"], line["detail"] = false, err.Error()
		}
		printed, _ := json.Marshal(line)
		fmt.Println(string(printed))
	}
	m.client.Close()
	if failed {
		os.Exit(1)
	}
}
