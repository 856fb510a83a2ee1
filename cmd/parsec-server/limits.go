package main

import (
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/cmdline"
	"parsec/internal/server/blocks"
	"parsec/internal/server/jobs"
	"parsec/internal/server/rpc"
)

// limits is the table of the configuration file that bounds what callers get.
// What is absent, or 0, is the default that package rpc, blocks or jobs names.
type limits struct {
	RequestTime  period `toml:"request_time"`
	CommitTime   period `toml:"commit_time"`
	TransferTime period `toml:"transfer_time"`
	StreamTime   period `toml:"stream_time"`
	StallTime    period `toml:"stall_time"`
	PollTime     period `toml:"poll_time"`
	Beat         period `toml:"beat"`
	StopTime     period `toml:"stop_time"`
	JobLook      period `toml:"job_look"`
	JobLease     period `toml:"job_lease"`

	BodyMemory   cmdline.ByteSize `toml:"body_memory"`
	OpenMemory   cmdline.ByteSize `toml:"open_memory"`
	UploadMemory cmdline.ByteSize `toml:"upload_memory"`
	Waiters      int              `toml:"waiters"`

	AddressRate  float64 `toml:"address_rate"`
	AddressBurst int     `toml:"address_burst"`
	DeviceRate   float64 `toml:"device_rate"`
	DeviceBurst  int     `toml:"device_burst"`
	OpenRate     float64 `toml:"open_rate"`
	OpenBurst    int     `toml:"open_burst"`
	TokenRate    float64 `toml:"token_rate"`
	TokenBurst   int     `toml:"token_burst"`
	Connections  int     `toml:"connections"`
	Streams      int     `toml:"streams"`
}

// period is a duration that is written with its unit, as 30s.
type period time.Duration

// UnmarshalText reads a period.
func (p *period) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fault.Errorf(fault.Usage, "%q is not a time with its unit, as 30s or 10m", text)
	}
	*p = period(d)
	return nil
}

// longestBeat is what clients count on: they take a stream that was silent for
// some beats for dead.
const longestBeat = 30 * time.Second

// leastMemory holds a request of the largest size, beside its small ones.
const leastMemory = 17 << 20

// leastOpenMemory holds the largest request that needs no proof.
const leastOpenMemory = 3 << 20

// Validate refuses limits with which the server could not work.
func (l limits) Validate() error {
	for name, p := range map[string]period{
		"request_time": l.RequestTime, "commit_time": l.CommitTime, "transfer_time": l.TransferTime, "stream_time": l.StreamTime,
		"stall_time": l.StallTime, "poll_time": l.PollTime, "beat": l.Beat, "stop_time": l.StopTime, "job_look": l.JobLook, "job_lease": l.JobLease,
	} {
		if p != 0 && time.Duration(p) < time.Second {
			return fault.Errorf(fault.Usage, "limits.%s: %s, want at least 1s", name, time.Duration(p))
		}
	}
	for name, n := range map[string]float64{
		"waiters": float64(l.Waiters), "address_rate": l.AddressRate, "address_burst": float64(l.AddressBurst),
		"device_rate": l.DeviceRate, "device_burst": float64(l.DeviceBurst), "open_rate": l.OpenRate, "open_burst": float64(l.OpenBurst),
		"token_rate": l.TokenRate, "token_burst": float64(l.TokenBurst), "connections": float64(l.Connections), "streams": float64(l.Streams),
	} {
		if !(n >= 0) { // also what is no number
			return fault.Errorf(fault.Usage, "limits.%s: %v, want more than 0", name, n)
		}
	}
	for name, b := range map[string]cmdline.ByteSize{"body_memory": l.BodyMemory, "upload_memory": l.UploadMemory} {
		if b != 0 && (b < leastMemory || b > 1<<62) {
			return fault.Errorf(fault.Usage, "limits.%s: %d, want at least 17MiB, which one request may need", name, b)
		}
	}
	if b := l.OpenMemory; b != 0 && (b < leastOpenMemory || b > 1<<62) {
		return fault.Errorf(fault.Usage, "limits.open_memory: %d, want at least 3MiB, which one bootstrap may need", b)
	}
	if time.Duration(l.Beat) > longestBeat {
		return fault.Errorf(fault.Usage, "limits.beat: %s, want at most %s, which clients count on", time.Duration(l.Beat), longestBeat)
	}
	return nil
}

// bound sets the limits of the network side.
func (l limits) bound(c *rpc.Config) {
	c.RequestTime, c.CommitTime = time.Duration(l.RequestTime), time.Duration(l.CommitTime)
	c.TransferTime, c.StreamTime = time.Duration(l.TransferTime), time.Duration(l.StreamTime)
	c.StallTime, c.PollTime = time.Duration(l.StallTime), time.Duration(l.PollTime)
	c.Beat, c.StopTime = time.Duration(l.Beat), time.Duration(l.StopTime)
	c.BodyMemory, c.OpenMemory, c.Waiters = int64(l.BodyMemory), int64(l.OpenMemory), l.Waiters
	c.AddressRate, c.AddressBurst = l.AddressRate, l.AddressBurst
	c.DeviceRate, c.DeviceBurst = l.DeviceRate, l.DeviceBurst
	c.OpenRate, c.OpenBurst = l.OpenRate, l.OpenBurst
	c.TokenRate, c.TokenBurst = l.TokenRate, l.TokenBurst
	c.Connections, c.Streams = l.Connections, l.Streams
}

// jobs returns how often what no request waits for is done.
func (l limits) jobs() jobs.Config {
	return jobs.Config{Look: time.Duration(l.JobLook), Lease: time.Duration(l.JobLease)}
}

// transfer returns the limits of the transfer of blocks.
func (l limits) transfer() blocks.Config {
	return blocks.Config{Memory: int64(l.UploadMemory), Waiters: l.Waiters}
}
