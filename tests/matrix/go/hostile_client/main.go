// Calls addresses whose answers are no values: tests/matrix/README.md, "The hostile client".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	lever "github.com/leveros/lever/bindings/go"
)

func call(c *lever.Client, address string) error {
	if !strings.HasSuffix(address, "Chan") {
		_, err := lever.Invoke[any](context.Background(), c, address)
		return err
	}
	s, err := c.Stream(context.Background(), address)
	if err != nil {
		return err
	}
	for _, err := range lever.Messages[any](s) {
		if err != nil {
			return err
		}
	}
	return nil
}

func outcome(err error) string {
	var trouble *lever.Error
	switch {
	case err == nil:
		return "OK"
	case errors.As(err, &trouble):
		return trouble.Code.String()
	default:
		return "METHOD_ERROR"
	}
}

func main() {
	c, err := lever.Dial(context.Background(), lever.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, address := range os.Args[1:] {
		line, err := json.Marshal([]string{address, outcome(call(c, address))})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
}
