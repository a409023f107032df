package flood

import (
	"context"
	"errors"
	"math"
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
		{Config{CPUs: []int{0, 1024}}, "CPU"},
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
