package report

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write docs/bench/SCHEMA.md anew")

const schemaFile = "../../../docs/bench/SCHEMA.md"

// The document says what each field means in the words of the types' own
// comments. This test writes it, and fails when it is not what they say.
func TestSchemaIsDocumented(t *testing.T) {
	doc := &schemaDoc{elsewhere: map[string]*typeSpec{"Spread": parseTypes(t, "../../peers")["Spread"]}}
	doc.WriteString(fmt.Sprintf(schemaHead, schema))
	doc.types(t, ".", "Report", "run-")
	doc.metrics()
	doc.WriteString(schemaPeers)
	doc.types(t, "../../peers", "Report", "peers-")
	if *update {
		if err := os.WriteFile(schemaFile, []byte(doc.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != doc.String() {
		t.Error("docs/bench/SCHEMA.md is not what the types say: go test ./internal/bench/report -run Schema -update")
	}
	if doc.fields < 100 {
		t.Errorf("it names %d fields only", doc.fields)
	}
}

const schemaHead = `# The schema of results

What ` + "`ipq-bench -json FILE`" + ` and ` + "`ipq-bench peers -json FILE`" + ` write, for programs that read it.
` + "`ipq-bench compare`" + `, ` + "`html`" + ` and ` + "`svg`" + ` read both.

The version of the first is its field ` + "`schema`" + `, now %d; a comparison with peers, whose ` + "`kind`" + ` is
"goipq peers", has one of its own. It goes up when a field changes its meaning or goes. Fields may be
added without that, so that a reader ignores those it does not know.

Times in fields that end in ` + "`_ns`" + ` are nanoseconds. Counters are whole numbers below 2^64, which some
readers of JSON round above 2^53.

Written from the sources: ` + "`go test ./internal/bench/report -run Schema -update`" + `.

## A run
`

const schemaPeers = `
## A comparison with peers
`

// A schemaDoc is the document, and what it has named so far.
type schemaDoc struct {
	strings.Builder
	fields    int
	elsewhere map[string]*typeSpec // types of another package that this one embeds
}

// types writes a table for a type and each one that its fields have.
func (d *schemaDoc) types(t *testing.T, folder, root, anchor string) {
	t.Helper()
	all := parseTypes(t, folder)
	done := []string{root}
	for i := 0; i < len(done); i++ {
		name := done[i]
		spec := all[name]
		if spec == nil {
			t.Fatalf("no type %s in %s", name, folder)
		}
		fmt.Fprintf(d, "\n<a id=\"%s%s\"></a>\n\n### %s\n\n%s\n\n| field | is | meaning |\n|---|---|---|\n",
			anchor, name, name, sentence(all, &typeSpec{}, spec.doc))
		for _, used := range d.rows(all, spec, anchor) {
			if !slices.Contains(done, used) {
				done = append(done, used)
			}
		}
	}
}

// rows writes a row for each field, those of embedded types with them, and
// returns the types that they have.
func (d *schemaDoc) rows(all map[string]*typeSpec, spec *typeSpec, anchor string) (used []string) {
	above := ""
	for _, f := range spec.st.Fields.List {
		if len(f.Names) == 0 {
			embedded := all
			name, ok := f.Type.(*ast.Ident)
			if !ok {
				embedded, name = d.elsewhere, f.Type.(*ast.SelectorExpr).Sel
			}
			used = append(used, d.rows(all, embedded[name.Name], anchor)...)
			continue
		}
		tag := tagOf(f)
		if tag == "" || tag == "-" {
			continue
		}
		comment := f.Doc.Text() + " " + f.Comment.Text()
		text := sentence(all, spec, comment)
		// A comment that speaks of several fields stands at the first of them.
		if text != "" {
			above = comment
		} else if slices.Contains(strings.FieldsFunc(above, notInName), f.Names[0].Name) {
			text = "see above"
		}
		if rest, ok := strings.CutPrefix(text, f.Names[0].Name+" "); ok {
			text = "`" + tag + "` " + rest
		}
		kind, types := jsonType(all, f.Type, anchor)
		used = append(used, types...)
		fmt.Fprintf(d, "| `%s` | %s | %s |\n", tag, kind, text)
		d.fields++
	}
	return used
}

// metrics writes what the names in summaries stand for.
func (d *schemaDoc) metrics() {
	d.WriteString("\n### Names in summaries\n\nA name ends in the unit of its figures; what people read may have a larger one. What means nothing in a mode, or had no value in any round, is left out.\n\n| name | in tables |\n|---|---|\n")
	for _, x := range metrics {
		fmt.Fprintf(d, "| `%s` | %s |\n", x.Name, x.Label)
	}
	fmt.Fprintf(d, "| `%s` | throughput, packets/s |\n", ThroughputRate)
}

// A typeSpec is a type of the sources; st is nil if it is no struct.
type typeSpec struct {
	doc  string
	st   *ast.StructType
	expr ast.Expr
}

func parseTypes(t *testing.T, folder string) map[string]*typeSpec {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*typeSpec)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, s := range general.Specs {
				ts := s.(*ast.TypeSpec)
				st, _ := ts.Type.(*ast.StructType)
				all[ts.Name.Name] = &typeSpec{general.Doc.Text(), st, ts.Type}
			}
		}
	}
	return all
}

// jsonType says what a field is in JSON, and which of the types it has.
func jsonType(all map[string]*typeSpec, e ast.Expr, anchor string) (string, []string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return jsonType(all, e.X, anchor)
	case *ast.ArrayType:
		of, used := jsonType(all, e.Elt, anchor)
		return "array of " + of, used
	case *ast.MapType:
		of, used := jsonType(all, e.Value, anchor)
		return "object of " + of, used
	case *ast.SelectorExpr:
		if e.Sel.Name == "Time" {
			return "string, RFC 3339", nil
		}
		return "ns", nil
	}
	name := e.(*ast.Ident).Name
	switch spec := all[name]; {
	case spec != nil && spec.st != nil:
		return fmt.Sprintf("[%s](#%s%s)", name, anchor, name), []string{name}
	case spec != nil:
		return jsonType(all, spec.expr, anchor)
	case name == "bool":
		return "boolean", nil
	case name == "float64":
		return "number", nil
	case name == "string":
		return name, nil
	}
	return "integer", nil
}

func notInName(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// A capitalised word may be Go's name of a field; an abbreviation is none.
var capitalised = regexp.MustCompile(`\b[A-Z]\w*[a-z]\w*\b`)

// goName is a word as only Go's names are written.
var goName = regexp.MustCompile(`^[A-Z][a-z]+[A-Z]\w*$`)

// sentence is a comment on one line, with Go's names of fields as they are in
// JSON: any of the type that it stands at, and those of others that cannot be
// anything else.
func sentence(all map[string]*typeSpec, at *typeSpec, text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.ReplaceAll(text, "|", `\|`)
	return capitalised.ReplaceAllStringFunc(text, func(name string) string {
		if tag := at.tag(name); tag != "" {
			return "`" + tag + "`"
		}
		for _, in := range slices.Sorted(maps.Keys(all)) {
			if tag := all[in].tag(name); tag != "" && goName.MatchString(name) {
				return "`" + tag + "`"
			}
		}
		return name
	})
}

// tag is the name in JSON of one of the type's fields, or "".
func (spec *typeSpec) tag(name string) string {
	if spec.st == nil {
		return ""
	}
	for _, f := range spec.st.Fields.List {
		if len(f.Names) == 1 && f.Names[0].Name == name {
			return tagOf(f)
		}
	}
	return ""
}

// tagOf is a field's name in JSON.
func tagOf(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	tag, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
	return tag
}
