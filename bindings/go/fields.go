package lever

import (
	"reflect"
	"strings"
	"sync"
)

// The fields of a struct as they are sent.

type field struct {
	name      string
	index     []int
	omitEmpty bool
}

type structFields struct {
	list   []field
	byName map[string]*field
	// Without regard to case, for what has no tag.
	byFold map[string]*field
}

var structs sync.Map // reflect.Type to *structFields

func fieldsOf(t reflect.Type) *structFields {
	if found, ok := structs.Load(t); ok {
		return found.(*structFields)
	}
	fields := &structFields{byName: map[string]*field{}, byFold: map[string]*field{}}
	for _, at := range reflect.VisibleFields(t) {
		if name, options, sent := nameOf(t, at); sent {
			fields.list = append(fields.list,
				field{name: name, index: at.Index, omitEmpty: strings.Contains(","+options+",", ",omitempty,")})
		}
	}
	for i := range fields.list {
		at := &fields.list[i]
		if _, taken := fields.byName[at.name]; !taken {
			fields.byName[at.name] = at
		}
		if fold := strings.ToLower(at.name); fields.byFold[fold] == nil {
			fields.byFold[fold] = at
		}
	}
	found, _ := structs.LoadOrStore(t, fields)
	return found.(*structFields)
}

// nameOf gives the name and the options of a field, and whether it is sent at all.
func nameOf(t reflect.Type, at reflect.StructField) (name, options string, sent bool) {
	tag := tagOf(at)
	name, options, _ = strings.Cut(tag, ",")
	if tag == "-" || !at.IsExported() && !at.Anonymous {
		return "", "", false
	}
	if at.Anonymous && name == "" && inlined(at.Type) {
		return "", "", false // its own fields are
	}
	if !at.IsExported() || !reachable(t, at.Index) {
		return "", "", false
	}
	if name == "" {
		name = at.Name
	}
	return name, options, true
}

func tagOf(at reflect.StructField) string {
	if tag, ok := at.Tag.Lookup("msgpack"); ok {
		return tag
	}
	return at.Tag.Get("json")
}

// inlined tells whether an embedded field stands for its own fields.
func inlined(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && t != timeType && t != timestampType && t != extType
}

// reachable tells whether all that a field is embedded in stands for its own fields.
func reachable(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		outer := t.FieldByIndex(index[:i])
		name, _, _ := strings.Cut(tagOf(outer), ",")
		if name != "" || !inlined(outer.Type) || outer.Type.Kind() == reflect.Pointer && !outer.IsExported() {
			return false
		}
	}
	return true
}

// present tells whether a field of v is sent: not if it is empty and need not be, nor if what it is
// embedded in is nil.
func (f *field) present(v reflect.Value) bool {
	at, err := v.FieldByIndexErr(f.index)
	if err != nil {
		return false
	}
	if !f.omitEmpty {
		return true
	}
	switch at.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return at.Len() > 0
	default:
		return !at.IsZero()
	}
}
