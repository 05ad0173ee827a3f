package lever

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"

	"github.com/vmihailenco/msgpack/v5"
)

// Types that write and read themselves: those of github.com/vmihailenco/msgpack/v5 do it in
// MessagePack, those of the standard library as a text or as bytes.

func implementsAny(t reflect.Type) bool {
	if of := t; of == timeType || of == rawType ||
		of.Kind() == reflect.Pointer && (of.Elem() == timeType || of.Elem() == rawType) {
		return false // which are written here
	}
	for _, marshaler := range marshalersSeen {
		if t.Implements(marshaler) {
			return true
		}
	}
	return false
}

// marshalEncoder gives nil for a type that does not write itself.
func marshalEncoder(t reflect.Type) encoder {
	if t.Kind() == reflect.Interface {
		return nil
	}
	if implementsAny(t) {
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			if v.Kind() == reflect.Pointer && v.IsNil() {
				return append(b, 0xc0), nil
			}
			return appendMarshaled(b, v.Interface())
		}
	}
	if t.Kind() == reflect.Pointer || !implementsAny(reflect.PointerTo(t)) {
		return nil
	}
	// Its pointer does: a value that has no address is copied to where it has one.
	return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
		if !v.CanAddr() {
			copied := reflect.New(t).Elem()
			copied.Set(v)
			v = copied
		}
		return appendMarshaled(b, v.Addr().Interface())
	}
}

func appendMarshaled(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case msgpack.CustomEncoder:
		var to bytes.Buffer
		encoder := msgpack.GetEncoder()
		defer msgpack.PutEncoder(encoder)
		encoder.Reset(&to)
		encoder.UseCompactInts(true)
		if err := v.EncodeMsgpack(encoder); err != nil {
			return b, err
		}
		return append(b, to.Bytes()...), nil
	case msgpack.Marshaler:
		data, err := v.MarshalMsgpack()
		return append(b, data...), err
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		return appendString(b, string(text)), err
	case encoding.BinaryMarshaler:
		data, err := v.MarshalBinary()
		return appendBytes(b, data), err
	default:
		return b, fmt.Errorf("a value of type %T cannot be sent", v)
	}
}

// readsItself gives the address of a value as one of the interfaces below, or nil.
func readsItself(v reflect.Value) any {
	if v.Type() == timeType || v.Type() == rawType {
		return nil
	}
	switch at := v.Addr().Interface().(type) {
	case msgpack.CustomDecoder, msgpack.Unmarshaler, encoding.TextUnmarshaler, encoding.BinaryUnmarshaler:
		return at
	default:
		return nil
	}
}

// unmarshal has a value read itself from the one that comes next.
func (d *decoder) unmarshal(to any) error {
	begin := d.at
	if err := d.skip(0); err != nil {
		return err
	}
	data := d.data[begin:d.at]
	switch to := to.(type) {
	case msgpack.CustomDecoder:
		reader := msgpack.GetDecoder()
		defer msgpack.PutDecoder(reader)
		reader.Reset(bytes.NewReader(data))
		return to.DecodeMsgpack(reader)
	case msgpack.Unmarshaler:
		return to.UnmarshalMsgpack(bytes.Clone(data))
	}
	var value any
	inner := decoder{data: data}
	value, err := inner.any(0)
	if err != nil {
		return err
	}
	switch value := value.(type) {
	case string:
		if to, ok := to.(encoding.TextUnmarshaler); ok {
			return to.UnmarshalText([]byte(value))
		}
	case []byte:
		if to, ok := to.(encoding.BinaryUnmarshaler); ok {
			return to.UnmarshalBinary(value)
		}
	}
	return mismatch(value, reflect.TypeOf(to).Elem())
}
