package flood

import (
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) {
	Main()
	runParent()
	labtest.Main(m)
}
