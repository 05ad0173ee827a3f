package lever

import (
	"bytes"
	"fmt"
	"strings"
)

// A kind says what a payload is (lever_kind in include/lever/lever.h).
type kind int32

const (
	kindNone       kind = 0
	kindValue      kind = 1
	kindRaw        kind = 2
	kindErrorValue kind = 3
	kindErrorRaw   kind = 4
)

func (k kind) raw() bool { return k == kindRaw || k == kindErrorRaw }

// A payload is what goes over the wire as one thing: a value, or bytes as they are.
type payload struct {
	kind  kind
	bytes []byte
}

// payloadBytesMax is what the library takes as one payload. It is looked at before a size goes into the 32
// bits that a record has for it.
const payloadBytesMax = 1 << 30

func checkSize(bytes int) error {
	if bytes > payloadBytesMax {
		return refusal(CodeResourceExhausted, fmt.Sprintf("%d bytes are more than the 1 GiB that can be sent as one", bytes))
	}
	return nil
}

func rawPayload(b, data []byte) (payload, error) {
	if err := checkSize(len(data)); err != nil {
		return payload{kindNone, b}, err
	}
	return payload{kindRaw, append(b, data...)}, nil
}

// encodeArguments makes the payload of a call's arguments. One argument of bytes goes as it is.
func encodeArguments(b []byte, arguments []any) (payload, error) {
	if len(arguments) == 1 {
		if data, ok := arguments[0].([]byte); ok {
			return rawPayload(b, data)
		}
	}
	b, err := appendArray(b, arguments)
	if err != nil {
		return payload{kindNone, b}, invalid("the arguments cannot be sent: %w", err)
	}
	return payload{kindValue, b}, checkSize(len(b))
}

// encodeMessage makes the payload of an answer or a message. Bytes go as they are.
func encodeMessage(b []byte, v any) (payload, error) {
	if data, ok := v.([]byte); ok {
		return rawPayload(b, data)
	}
	b, err := appendValue(b, v)
	if err != nil {
		return payload{kindNone, b}, invalid("a %T cannot be sent: %w", v, err)
	}
	return payload{kindValue, b}, checkSize(len(b))
}

// errorValue gives what a method's error is sent as.
func errorValue(err error) any {
	if own, ok := asMethodError(err); ok {
		return own.Value
	}
	value := map[string]any{"name": "Error", "message": strings.ToValidUTF8(err.Error(), "\uFFFD")}
	if trouble, ok := err.(*Error); ok {
		value["name"] = "LeverError"
		value["code"] = trouble.Code.String()
		value["executed"] = trouble.Executed.String()
	}
	return value
}

// encodeErrorPayload makes the payload of what a method has failed with.
func encodeErrorPayload(b []byte, err error) payload {
	value := errorValue(err)
	if data, ok := value.([]byte); ok && checkSize(len(data)) == nil {
		return payload{kindErrorRaw, append(b, data...)}
	}
	encoded, failure := appendValue(b, value)
	if failure == nil {
		failure = checkSize(len(encoded))
	}
	if failure != nil {
		text := fmt.Sprintf("%v (and its value cannot be sent: %v)", err, failure)
		encoded, _ = appendValue(b, map[string]any{"name": "Error", "message": strings.ToValidUTF8(text, "\uFFFD")})
	}
	return payload{kindErrorValue, encoded}
}

// decode stores what the payload holds in what target points to.
func (p payload) decode(target any) error {
	if !p.kind.raw() {
		return decodeValue(p.bytes, target)
	}
	switch to := target.(type) {
	case *[]byte:
		*to = bytes.Clone(p.bytes)
		if *to == nil {
			*to = []byte{}
		}
		return nil
	case *any:
		*to = append([]byte{}, p.bytes...)
		return nil
	}
	encoded := appendBytes(nil, p.bytes)
	return decodeValue(encoded, target)
}

func methodError(p payload) *MethodError {
	e := &MethodError{payload: p}
	// What the library has checked can be read into an any.
	_ = p.decode(&e.Value)
	return e
}
