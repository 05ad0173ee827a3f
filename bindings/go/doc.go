// Package lever is Lever for Go: call services, and be one.
//
// A client is made by [Dial] and shared by any number of goroutines:
//
//	c, err := lever.Dial(ctx, lever.Options{}) // LEVER_HOST, LEVER_ENV
//	greeting, err := lever.Invoke[string](ctx, c, "/hello/SayHello", "Ann")
//
//	s, err := c.Stream(ctx, "/hello/EchoChan", "hi")
//	err = s.Send("one")
//	var message string
//	err = s.Recv(&message) // io.EOF at the end
//
// A service is a set of functions:
//
//	svc := lever.NewService(lever.ServiceOptions{})
//	svc.Handle("SayHello", func(ctx context.Context, name string) (string, error) {
//		return "Hello, " + name + "!", nil
//	})
//	err := svc.Serve(ctx)
//
// Methods may be those of named objects, each owned by one instance at a time: [HandleResource].
//
// The same program is an instance that a host has started, where it needs no name, and attaches
// itself to a host where it has one.
//
// # Errors
//
// A method's own error arrives as a [*MethodError]. Trouble of the platform arrives as an [*Error]
// with a [Code] and with what is known of whether the method ran. An Error that came about because a
// context was cancelled, or its deadline passed, is context.Canceled or context.DeadlineExceeded, too
// (errors.Is).
//
// # Contexts
//
// The deadline of a context travels with the call, and with the calls that the method makes.
// Cancelling a context cancels the call, and the context of the method that runs for it. Within a
// method, [FromContext] tells what is known of the call.
//
// # Values
//
// Arguments, results and messages are MessagePack.
//
//	Go                               MessagePack
//	nil, nil pointers, nil maps      nil
//	bool, integers, floats, string   as they are; all 64 bits of integers
//	[]byte                           bytes
//	other slices, arrays             array; a nil slice is an empty one
//	structs, maps                    map; names by the tag `msgpack:"name,omitempty"`, else `json`
//	time.Time, Timestamp             timestamp
//	Ext                              extension
//	types of UUIDs ([16]byte with MarshalText)  its text of 36 characters
//	encoding.TextMarshaler           text
//	encoding.BinaryMarshaler         bytes
//	msgpack.CustomEncoder, Marshaler, RawMessage (github.com/vmihailenco/msgpack/v5)  what they write
//
// An any receives nil, bool, int64 (uint64 beyond its range), float64, string, []byte, []any,
// map[string]any, time.Time (in UTC; [Timestamp] where that is not exact) and [Ext]. A map with keys
// that are no strings is a map[any]any, or a [Map] if a key is one that Go cannot compare.
//
// One argument of []byte, and []byte as a result or a message, travel as they are, without MessagePack.
package lever
