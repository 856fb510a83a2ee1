package terminal

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"parsec/internal/client/files"
	"parsec/internal/cmdline"
)

// Progress shows how a copy goes on: a bar with rate and time left where
// standard error is a terminal, and nothing but warnings elsewhere. Its
// methods may be called from several goroutines at once.
type Progress struct {
	warnings io.Writer
	bars     *mpb.Progress
	bar      *mpb.Bar

	mu    sync.Mutex // guards what follows
	found uint64
	done  uint64
	total uint64
	files int
}

var _ files.Progress = (*Progress)(nil)

// Drawn reports whether [Console.Progress] will draw a bar.
func (c *Console) Drawn() bool { return !c.Quiet && isTerminal(c.err) }

// Progress begins to show progress towards a number of bytes, as far as that is
// known; [Progress.Close] ends it.
func (c *Console) Progress(total uint64) *Progress {
	p := &Progress{warnings: c.err, total: total}
	if c.Drawn() {
		p.draw(c.err)
	}
	return p
}

func (p *Progress) draw(w *os.File) {
	p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(64))
	p.warnings = p.bars // above the bar
	// A bar that knows its total from the beginning ends when it is reached,
	// also if more is found afterwards.
	p.bar = p.bars.New(0,
		mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.counted() })),
		mpb.AppendDecorators(
			decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WCSyncSpace),
			decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace),
		),
	)
	p.bar.SetTotal(int64(p.total), false)
}

// counted says how much is done.
func (p *Progress) counted() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d files, %s of %s ", p.files, cmdline.Size(p.done), cmdline.Size(max(p.total, p.found)))
}

// Found implements [files.Progress].
func (p *Progress) Found(_ int, bytes uint64) {
	p.mu.Lock()
	p.found += bytes
	more := p.found > p.total
	total := max(p.found, p.total)
	p.mu.Unlock()
	if more && p.bar != nil {
		p.bar.SetTotal(int64(total), false)
	}
}

// Done implements [files.Progress].
func (p *Progress) Done(files int, bytes uint64) {
	p.mu.Lock()
	p.files += files
	p.done += bytes
	p.mu.Unlock()
	if p.bar != nil && bytes > 0 {
		p.bar.IncrInt64(int64(bytes))
	}
}

// Skipped implements [files.Progress].
func (p *Progress) Skipped(path string, err error) {
	fmt.Fprintln(p.warnings, "warning: "+cmdline.Safe(fmt.Sprintf("skipped %s: %v", path, err)))
}

// Conflict implements [files.Progress].
func (p *Progress) Conflict(wanted, name string) {
	fmt.Fprintln(p.warnings, "warning: "+cmdline.Safe(fmt.Sprintf("somebody else wrote %s at the same time; the copy is %s", wanted, name)))
}

// Outside implements [files.Progress].
func (p *Progress) Outside(path, target string) {
	fmt.Fprintln(p.warnings, "warning: "+cmdline.Safe(fmt.Sprintf("link %s leads out of what is copied, to %s", path, target)))
}

// Close takes the bar away.
func (p *Progress) Close() {
	if p.bars == nil {
		return
	}
	p.bar.Abort(true)
	p.bars.Wait()
}

// Summary says what was copied.
func (p *Progress) Summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d files, %s", p.files, cmdline.Size(p.done))
}
