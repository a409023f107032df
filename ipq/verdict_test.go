package ipq

import "testing"

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{
		Drop: "drop", Accept: "accept", Repeat: "repeat", Stop: "stop",
		Requeue(65535): "queue 65535", Accept.WithMark(0x2a): "accept, mark 0x2a", 2: "invalid verdict 2",
		Drop.WithMark(1).Bypass(): "drop, mark 0x1, bypass",
		RequeueBypass(7):          "queue 7 or accept", RequeueBypass(7).WithMark(1): "queue 7 or accept, mark 0x1",
		Reject: "reject", RejectBoth.WithMark(1).Bypass(): "reject both, mark 0x1, bypass",
	} {
		if v.String() != want {
			t.Errorf("%d: %q, want %q", v, v.String(), want)
		}
	}
}

func TestVerdictIsAValue(t *testing.T) {
	var zero Verdict
	if zero != Drop {
		t.Error("the zero Verdict is not Drop")
	}
	v := Requeue(12).WithMark(8).WithMark(7)
	if v != Requeue(12).WithMark(7) {
		t.Errorf("%v: the last mark counts", v)
	}
	if mark, ok := v.Mark(); mark != 7 || !ok || v.kernel() != 12<<16|3 {
		t.Errorf("%v: mark %d, %v, kernel %#x", v, mark, ok, v.kernel())
	}
	if v := Accept.Bypass().WithMark(7); v != Accept.WithMark(7).Bypass() || v.kernel() != 1 {
		t.Errorf("%v: kernel %#x", v, v.kernel())
	}
	for _, kind := range []Verdict{Drop, Accept, Repeat, Stop, Requeue(12)} {
		if got := kind.WithMark(7).Bypass().Kind(); got != kind {
			t.Errorf("the kind of %v, with a mark, is %v", kind, got)
		}
	}
	if v := RequeueBypass(12); v.Kind() != Requeue(12) || v.kernel() != 12<<16|0x8000|3 || v == Requeue(12) {
		t.Errorf("%v: kind %v, kernel %#x", v, v.Kind(), v.kernel())
	}
	if _, ok := Accept.Mark(); ok {
		t.Error("Accept has a mark")
	}
	for code := range Verdict(256) {
		known := code == Drop || code == Accept || code == 3 || code == Repeat || code == Stop
		if code.valid() != known {
			t.Errorf("%v: valid %v", code, code.valid())
		}
	}
}
