// Package machine says on what figures were measured: which processor, kernel
// and file system, and how busy all of it was at that moment.
package machine

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Conditions returns one line about this machine, its load, and the file
// system of a folder. What the system does not tell is "unknown".
func Conditions(folder string) string {
	said := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s; %d cores of %s; Linux %s; %s; %s below %s; load %s",
		time.Now().UTC().Format(time.DateTime), runtime.NumCPU(),
		said("sed", "-n", `/model name/{s/.*: //;p;q}`, "/proc/cpuinfo"), said("uname", "-r"), runtime.Version(),
		said("findmnt", "-n", "-o", "FSTYPE", "-T", folder), folder, Load())
}

// Load returns how many processes wanted to run, on average of the last
// minute, five and fifteen.
func Load() string {
	out, err := exec.Command("cat", "/proc/loadavg").Output()
	load := strings.Fields(string(out))
	if err != nil || len(load) < 3 {
		return "unknown"
	}
	return strings.Join(load[:3], " ")
}
