// A client of Lever on grpc-go, without any code of Lever's: what docs/wire.md says, and nothing else.
//
//	grpc-go-client --target ADDR --url /hello/sayHello --arg-json '["Ann"]'
//	grpc-go-client --target ADDR --url /hello/echoChan --arg-json '["hi"]' --stream \
//	    --message-json 1 --message-json '"two"'
//
// Each message that comes back is one line of JSON on standard output. A method's own error is
// {"error_value": ...} or {"error_raw": "<base64>"} on standard error, exit code 1. Any other trouble is
// {"code", "name", "message", "executed"}, exit code 3.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"lever/tests/peers/leverpb"
)

type messageList []string

func (l *messageList) String() string     { return strings.Join(*l, " ") }
func (l *messageList) Set(v string) error { *l = append(*l, v); return nil }

type options struct {
	target, ca, url, arguments, resource string
	stream                               bool
	messages                             messageList
	timeout                              time.Duration
	metadata                             messageList
	descriptor                           bool
}

func parse() options {
	var o options
	flag.StringVar(&o.target, "target", "127.0.0.1:8080", "host:port")
	flag.StringVar(&o.ca, "ca", "", "TLS, trusting this file of roots")
	flag.StringVar(&o.url, "url", "", "/service/method, or lever://environment/service/method")
	flag.StringVar(&o.arguments, "arg-json", "[]", "the array of arguments")
	flag.StringVar(&o.resource, "resource", "", "lever-resource, percent-encoded")
	flag.BoolVar(&o.stream, "stream", false, "Stream instead of Invoke")
	flag.Var(&o.messages, "message-json", "a message of the stream (may be repeated)")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Second, "deadline")
	flag.Var(&o.metadata, "metadata", "name=value (may be repeated)")
	flag.BoolVar(&o.descriptor, "print-descriptor", false, "print lever.proto as it was compiled in")
	flag.Parse()
	return o
}

// An integer stays one: JSON numbers are float64 only if they have a fraction or an exponent.
func fromJSON(text string) ([]byte, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return msgpack.Marshal(numbers(value))
}

func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if integer, err := v.Int64(); err == nil {
			return integer
		}
		float, _ := v.Float64()
		return float
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	}
	return value
}

func toJSON(packed []byte) (string, error) {
	var value any
	if err := msgpack.Unmarshal(packed, &value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// methodError is the method's own error; its text is what is printed.
type methodError string

func (e methodError) Error() string { return string(e) }

func show(message *leverpb.Message) error {
	switch body := message.Body.(type) {
	case *leverpb.Message_Value:
		text, err := toJSON(body.Value)
		if err == nil {
			fmt.Println(text)
		}
		return err
	case *leverpb.Message_Raw:
		fmt.Printf("{\"$bytes\":%q}\n", base64.StdEncoding.EncodeToString(body.Raw))
	case *leverpb.Message_ErrorValue:
		text, err := toJSON(body.ErrorValue)
		if err != nil {
			return err
		}
		return methodError(`{"error_value":` + text + `}`)
	case *leverpb.Message_ErrorRaw:
		return methodError(fmt.Sprintf("{\"error_raw\":%q}",
			base64.StdEncoding.EncodeToString(body.ErrorRaw)))
	}
	return nil // bookkeeping
}

func call(o options, trailer *metadata.MD) error {
	transport := insecure.NewCredentials()
	if o.ca != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(o.ca, ""); err != nil {
			return err
		}
	}
	connection, err := grpc.NewClient(o.target, grpc.WithTransportCredentials(transport))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := leverpb.NewLeverClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	pairs := []string{"lever-url", o.url}
	if o.resource != "" {
		pairs = append(pairs, "lever-resource", o.resource)
	}
	for _, pair := range o.metadata {
		name, value, _ := strings.Cut(pair, "=")
		pairs = append(pairs, name, value)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	packed, err := fromJSON(o.arguments)
	if err != nil {
		return err
	}
	arguments := &leverpb.Message{Body: &leverpb.Message_Value{Value: packed}}
	if o.stream {
		return streamCall(ctx, client, o, arguments, trailer)
	}
	reply, err := client.Invoke(ctx, arguments, grpc.Trailer(trailer))
	if err != nil {
		return err
	}
	return show(reply)
}

func streamCall(ctx context.Context, client leverpb.LeverClient, o options,
	arguments *leverpb.Message, trailer *metadata.MD) error {
	stream, err := client.Stream(ctx, grpc.Trailer(trailer))
	if err != nil {
		return err
	}
	// Written while replies are read: neither side waits for the other.
	go func() {
		defer stream.CloseSend()
		if stream.Send(arguments) != nil {
			return // Recv tells why
		}
		for _, text := range o.messages {
			packed, err := fromJSON(text)
			if err != nil {
				fmt.Fprintln(os.Stderr, "--message-json:", err)
				os.Exit(2)
			}
			message := &leverpb.Message{Body: &leverpb.Message_Value{Value: packed}}
			if stream.Send(message) != nil {
				return
			}
		}
	}()
	var failed error
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return failed
		}
		if err != nil {
			return err
		}
		if err := show(message); err != nil {
			failed = err // the last message; the status follows
		}
	}
}

func main() {
	o := parse()
	if o.descriptor {
		file, err := proto.Marshal(protodesc.ToFileDescriptorProto(leverpb.File_lever_v1_lever_proto))
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(file)
		return
	}
	if o.url == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "--url is needed, and nothing but flags")
		os.Exit(2)
	}
	var trailer metadata.MD
	err := call(o, &trailer)
	var own methodError
	if errors.As(err, &own) {
		fmt.Fprintln(os.Stderr, own)
		os.Exit(1)
	}
	if err == nil {
		return
	}
	s, _ := status.FromError(err)
	executed := "unknown"
	if values := trailer.Get("lever-executed"); len(values) == 1 {
		executed = values[0]
	}
	text, _ := json.Marshal(map[string]any{
		"code": s.Code(), "name": s.Code().String(), "message": s.Message(),
		"executed": executed})
	fmt.Fprintln(os.Stderr, string(text))
	os.Exit(3)
}
