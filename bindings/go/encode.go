package lever

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Go to MessagePack. Numbers are written as short as they can be; floats keep their size.

// depthMax is how deep arrays and maps may lie in each other: the library refuses more.
const depthMax = 128

var errDepth = fmt.Errorf("arrays and maps lie more than %d deep in each other, or in themselves", depthMax)

// appendValue adds one value.
func appendValue(b []byte, v any) ([]byte, error) { return appendAny(b, v, 0) }

// appendArray adds an array of values: the arguments of a call.
func appendArray(b []byte, values []any) ([]byte, error) { return appendAnys(b, values, 0) }

func appendAny(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0), nil
	case bool:
		return appendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case []byte:
		return appendBytes(b, v), nil
	case int:
		return appendInt(b, int64(v)), nil
	case int64:
		return appendInt(b, v), nil
	case int32:
		return appendInt(b, int64(v)), nil
	case uint64:
		return appendUint(b, v), nil
	case uint32:
		return appendUint(b, uint64(v)), nil
	case uint8:
		return appendUint(b, uint64(v)), nil
	case float64:
		return appendFloat64(b, v), nil
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(v)), nil
	case time.Time:
		return appendTimestamp(b, TimestampOf(v)), nil
	case []any:
		return appendAnys(b, v, depth)
	case map[string]any:
		return appendStringMap(b, v, depth)
	}
	value := reflect.ValueOf(v)
	return encoderOf(value.Type())(b, value, depth)
}

func appendAnys(b []byte, values []any, depth int) ([]byte, error) {
	if depth == depthMax {
		return b, errDepth
	}
	b = appendArrayHead(b, len(values))
	var err error
	for _, v := range values {
		if b, err = appendAny(b, v, depth+1); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendStringMap(b []byte, m map[string]any, depth int) ([]byte, error) {
	if m == nil {
		return append(b, 0xc0), nil
	}
	if depth == depthMax {
		return b, errDepth
	}
	b = appendMapHead(b, len(m))
	var err error
	for key, v := range m {
		b = appendString(b, key)
		if b, err = appendAny(b, v, depth+1); err != nil {
			return b, err
		}
	}
	return b, nil
}

// ---- What the values are made of ----

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	}
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 128:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	}
}

func appendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
}

func appendString(b []byte, v string) []byte {
	if len(v) < 32 {
		b = append(b, 0xa0|byte(len(v)))
	} else {
		b = appendHead(b, 0xd9, len(v))
	}
	return append(b, v...)
}

func appendBytes(b []byte, v []byte) []byte {
	return append(appendHead(b, 0xc4, len(v)), v...)
}

// appendHead adds the code and the length of text or bytes; the codes for 16 and 32 bits follow that
// for 8.
func appendHead(b []byte, code byte, size int) []byte {
	switch {
	case size <= math.MaxUint8:
		return append(b, code, byte(size))
	case size <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, code+1), uint16(size))
	default:
		return binary.BigEndian.AppendUint32(append(b, code+2), uint32(size))
	}
}

func appendArrayHead(b []byte, count int) []byte { return appendCount(b, count, 0x90, 0xdc) }
func appendMapHead(b []byte, count int) []byte   { return appendCount(b, count, 0x80, 0xde) }

func appendCount(b []byte, count int, fixed, code byte) []byte {
	switch {
	case count < 16:
		return append(b, fixed|byte(count))
	case count <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, code), uint16(count))
	default:
		return binary.BigEndian.AppendUint32(append(b, code+1), uint32(count))
	}
}

func appendExt(b []byte, kind int8, data []byte) []byte {
	switch len(data) {
	case 1, 2, 4, 8, 16:
		code := byte(0xd4)
		for n := len(data); n > 1; n /= 2 {
			code++
		}
		b = append(b, code)
	default:
		b = appendHead(b, 0xc7, len(data))
	}
	return append(append(b, byte(kind)), data...)
}

func appendTimestamp(b []byte, t Timestamp) []byte {
	var data [12]byte
	switch {
	case t.Seconds>>34 != 0:
		binary.BigEndian.PutUint32(data[:4], t.Nanos)
		binary.BigEndian.PutUint64(data[4:], uint64(t.Seconds))
		return appendExt(b, -1, data[:])
	case t.Nanos != 0 || t.Seconds>>32 != 0:
		binary.BigEndian.PutUint64(data[:8], uint64(t.Nanos)<<34|uint64(t.Seconds))
		return appendExt(b, -1, data[:8])
	default:
		binary.BigEndian.PutUint32(data[:4], uint32(t.Seconds))
		return appendExt(b, -1, data[:4])
	}
}

// ---- By type ----

type encoder func(b []byte, v reflect.Value, depth int) ([]byte, error)

var (
	encoders sync.Map // reflect.Type to encoder

	timeType       = reflect.TypeFor[time.Time]()
	timestampType  = reflect.TypeFor[Timestamp]()
	extType        = reflect.TypeFor[Ext]()
	mapType        = reflect.TypeFor[Map]()
	rawType        = reflect.TypeFor[msgpack.RawMessage]()
	customEncType  = reflect.TypeFor[msgpack.CustomEncoder]()
	marshalerType  = reflect.TypeFor[msgpack.Marshaler]()
	textMarshType  = reflect.TypeFor[encoding.TextMarshaler]()
	binMarshType   = reflect.TypeFor[encoding.BinaryMarshaler]()
	errorType      = reflect.TypeFor[error]()
	marshalersSeen = []reflect.Type{customEncType, marshalerType, textMarshType, binMarshType}
)

func encoderOf(t reflect.Type) encoder {
	if found, ok := encoders.Load(t); ok {
		return found.(encoder)
	}
	// A type that contains itself finds this one, which waits for what is being made.
	var made encoder
	var ready sync.WaitGroup
	ready.Add(1)
	found, loaded := encoders.LoadOrStore(t, encoder(func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		ready.Wait()
		return made(b, v, depth)
	}))
	if loaded {
		return found.(encoder)
	}
	made = makeEncoder(t)
	ready.Done()
	encoders.Store(t, made)
	return made
}

func makeEncoder(t reflect.Type) encoder {
	switch t {
	case timeType:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			return appendTimestamp(b, TimestampOf(v.Interface().(time.Time))), nil
		}
	case timestampType:
		return encodeTimestamp
	case extType:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			return appendExt(b, int8(v.Field(0).Int()), v.Field(1).Bytes()), nil
		}
	case mapType:
		return encodePairs
	case rawType:
		return encodeRaw
	}
	if marshals := marshalEncoder(t); marshals != nil {
		return marshals
	}
	if t.Implements(errorType) && t.Kind() != reflect.Interface {
		return encodeError
	}
	switch t.Kind() {
	case reflect.Pointer:
		return encodePointer
	case reflect.Interface:
		return encodeInterface
	case reflect.Slice, reflect.Array:
		return sliceEncoder(t)
	case reflect.Map:
		return mapEncoder(t)
	case reflect.Struct:
		return structEncoder(t)
	default:
		return scalarEncoder(t)
	}
}

func scalarEncoder(t reflect.Type) encoder {
	switch t.Kind() {
	case reflect.Bool:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) { return appendBool(b, v.Bool()), nil }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) { return appendInt(b, v.Int()), nil }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) { return appendUint(b, v.Uint()), nil }
	case reflect.Float32:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(float32(v.Float()))), nil
		}
	case reflect.Float64:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) { return appendFloat64(b, v.Float()), nil }
	case reflect.String:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) { return appendString(b, v.String()), nil }
	default:
		return func(b []byte, _ reflect.Value, _ int) ([]byte, error) {
			return b, fmt.Errorf("a value of type %s cannot be sent", t)
		}
	}
}

func encodeTimestamp(b []byte, v reflect.Value, _ int) ([]byte, error) {
	t := v.Interface().(Timestamp)
	if t.Nanos > nanosMax {
		return b, fmt.Errorf("a Timestamp has %d nanoseconds: more than a second", t.Nanos)
	}
	return appendTimestamp(b, t), nil
}

// encodePointer goes on to what is pointed to. A pointer to itself is not followed for ever.
func encodePointer(b []byte, v reflect.Value, depth int) ([]byte, error) {
	for hops := 0; v.Kind() == reflect.Pointer && !implementsAny(v.Type()); hops++ {
		if v.IsNil() {
			return append(b, 0xc0), nil
		}
		if hops == depthMax {
			return b, errDepth
		}
		v = v.Elem()
	}
	return encoderOf(v.Type())(b, v, depth)
}

func encodeInterface(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(b, 0xc0), nil
	}
	return appendAny(b, v.Elem().Interface(), depth)
}

// encodeError writes an error as a method that returns it would.
func encodeError(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return append(b, 0xc0), nil
	}
	return appendAny(b, errorValue(v.Interface().(error)), depth+1)
}

func encodeRaw(b []byte, v reflect.Value, _ int) ([]byte, error) {
	if v.Len() == 0 {
		return append(b, 0xc0), nil
	}
	return append(b, v.Bytes()...), nil
}

func encodePairs(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth == depthMax {
		return b, errDepth
	}
	pairs := v.Interface().(Map)
	b = appendMapHead(b, len(pairs))
	var err error
	for _, pair := range pairs {
		if b, err = appendAny(b, pair.Key, depth+1); err != nil {
			return b, err
		}
		if b, err = appendAny(b, pair.Value, depth+1); err != nil {
			return b, err
		}
	}
	return b, nil
}

func sliceEncoder(t reflect.Type) encoder {
	if t.Elem().Kind() == reflect.Uint8 && !implementsAny(t.Elem()) {
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			if t.Kind() == reflect.Slice {
				return appendBytes(b, v.Bytes()), nil
			}
			b = appendHead(b, 0xc4, v.Len())
			for i := range v.Len() {
				b = append(b, byte(v.Index(i).Uint()))
			}
			return b, nil
		}
	}
	element := encoderOf(t.Elem())
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		if depth == depthMax {
			return b, errDepth
		}
		b = appendArrayHead(b, v.Len())
		var err error
		for i := range v.Len() {
			if b, err = element(b, v.Index(i), depth+1); err != nil {
				return b, err
			}
		}
		return b, nil
	}
}

func mapEncoder(t reflect.Type) encoder {
	key, element := encoderOf(t.Key()), encoderOf(t.Elem())
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		if v.IsNil() {
			return append(b, 0xc0), nil
		}
		if depth == depthMax {
			return b, errDepth
		}
		b = appendMapHead(b, v.Len())
		var err error
		for entries := v.MapRange(); entries.Next(); {
			if b, err = key(b, entries.Key(), depth+1); err != nil {
				return b, err
			}
			if b, err = element(b, entries.Value(), depth+1); err != nil {
				return b, err
			}
		}
		return b, nil
	}
}

func structEncoder(t reflect.Type) encoder {
	fields := fieldsOf(t)
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		if depth == depthMax {
			return b, errDepth
		}
		count := 0
		for i := range fields.list {
			if fields.list[i].present(v) {
				count++
			}
		}
		b = appendMapHead(b, count)
		var err error
		for i := range fields.list {
			field := &fields.list[i]
			if !field.present(v) {
				continue
			}
			b = appendString(b, field.name)
			at, _ := v.FieldByIndexErr(field.index)
			if b, err = encoderOf(at.Type())(b, at, depth+1); err != nil {
				return b, fmt.Errorf("%s.%s: %w", t.Name(), field.name, err)
			}
		}
		return b, nil
	}
}
