package flood

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConfigErrors(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{Flows: -1}, "Flows"},
		{Config{Flows: 1<<16 + 1}, "Flows"},
		{Config{Size: 35}, "Size"},
		{Config{Size: 55, IPv6: true}, "Size"},
		{Config{Size: 1 << 16}, "Size"},
		{Config{Burst: -1}, "Burst"},
		{Config{SendBuffer: -1}, "SendBuffer"},
		{Config{Burst: 1025}, "Burst"},
		{Config{Window: -1}, "Window"},
		{Config{Window: 1<<16 + 1}, "Window"},
		{Config{Rate: -1}, "Rate"},
		{Config{Rate: math.NaN()}, "Rate"},
		{Config{Rate: math.Inf(1)}, "Rate"},
		{Config{Rate: 1, Window: 1}, "Rate and Window"},
		{Config{Timeout: -time.Second}, "Timeout"},
		{Config{Count: 1 << 48}, "Count"},
		{Config{CPUs: []int{-1}}, "CPU"},
		{Config{Sizes: []int{64, 35}}, "Size is 35"},
		{Config{Sizes: []int{64}, Size: 64}, "Size and Sizes"},
		{Config{UDP: true, Window: 1}, "Window"},
		{Config{To: netip.MustParsePrefix("10.0.0.0/17")}, "To"},
		{Config{To: netip.MustParsePrefix("fd00::/64")}, "To"},
		{Config{To: netip.MustParsePrefix("10.0.0.0/16"), IPv6: true}, "To"},
		{Config{CPUs: []int{0, 1024}}, "CPU"},
		{Config{Timed: true, Rate: 1}, "Timed"},
		{Config{CatchUp: -1, Rate: 1}, "CatchUp"},
		{Config{Timed: true, UDP: true}, "Timed"},
		{Config{Timed: true, UDP: true, Rate: 1, Size: 43}, "Size is 43, want 44"},
		{Config{Timed: true, UDP: true, Rate: 1, Size: 63, IPv6: true}, "Size is 63, want 64"},
	} {
		_, err := test.cfg.withDefaults()
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want ErrConfig about %s", test.cfg, err, test.want)
		}
		if _, err := Start(context.Background(), test.cfg); err == nil {
			t.Errorf("%+v: Start accepts it", test.cfg)
		}
	}
	for _, cfg := range []Config{{}, {Size: 36}, {Size: 56, IPv6: true}, {Size: 65535}, {Flows: 1 << 16}, {Rate: 0.1}} {
		if _, err := cfg.withDefaults(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestConnectionConfigErrors(t *testing.T) {
	to := netip.MustParsePrefix("127.1.0.0/16")
	for _, test := range []struct {
		cfg  Client
		want string
	}{
		{Client{Port: 1}, "To"},
		{Client{To: netip.MustParsePrefix("127.1.0.0/17"), Port: 1}, "To"},
		{Client{To: to}, "Port"},
		{Client{To: to, Port: 1, Streams: -1}, "Streams"},
		{Client{To: to, Port: 1, Churn: -1}, "Churn"},
		{Client{To: to, Port: 1, Rate: 1}, "Rate needs Churn"},
		{Client{To: to, Port: 1, Churn: 1, Rate: math.NaN()}, "Rate"},
		{Client{To: to, Port: 1, CPUs: []int{-1}}, "CPU"},
	} {
		if _, err := StartClient(t.Context(), test.cfg); !hasConfigError(err, test.want) {
			t.Errorf("%+v: error %v, want ErrConfig about %s", test.cfg, err, test.want)
		}
	}
	for _, test := range []struct {
		cfg  Server
		want string
	}{
		{Server{}, "Listen"},
		{Server{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, "Listen"},
		{Server{Listen: netip.MustParseAddrPort("127.0.0.1:1"), Answer: -1}, "Answer"},
	} {
		if _, err := StartServer(t.Context(), test.cfg); !hasConfigError(err, test.want) {
			t.Errorf("%+v: error %v, want ErrConfig about %s", test.cfg, err, test.want)
		}
	}
}

func TestReceiverConfigErrors(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:9")
	for _, test := range []struct {
		cfg  Receiver
		want string
	}{
		{Receiver{}, "Listen"},
		{Receiver{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, "Listen"},
		{Receiver{Listen: at, CPUs: []int{-1}}, "CPU"},
	} {
		if _, err := StartReceiver(t.Context(), test.cfg); !hasConfigError(err, test.want) {
			t.Errorf("%+v: error %v, want ErrConfig about %s", test.cfg, err, test.want)
		}
	}
}

func hasConfigError(err error, about string) bool {
	if errors.Is(err, errors.ErrUnsupported) {
		return true // not Linux
	}
	return errors.Is(err, ErrConfig) && strings.Contains(err.Error(), about)
}
