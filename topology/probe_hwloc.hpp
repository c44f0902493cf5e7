// Fills a Machine by means of hwloc: this host, or a topology saved elsewhere. Thread-safe; hwloc is
// loaded anew by each call (milliseconds), so callers keep the result.
#pragma once

#include <string>
#include <string_view>

#include "topology/machine.hpp"

namespace libcoll::topo {

// What this process may use of this host. Gives a usable Machine whatever is hidden: what is missing
// is assumed and said so in notes. Fails only where not even the CPUs can be listed.
detail::Result<Machine> probe_host();

struct PciScan {
  bool is_this_host = true;  // else HWLOC_* variables replaced it
  bool has_nvidia = false;
};
// Adds the GPUs and NICs on this host's PCI bus, with their path classes, to what probe_host gave. The bus
// shows in containers, too, and in full.
detail::Result<PciScan> probe_pci_devices(Machine&);

// hwloc XML, format 2. Any text at all gives a valid Machine or a failure.
detail::Result<Machine> import_hwloc_xml(std::string_view text);
detail::Result<Machine> import_hwloc_xml_file(const std::string& path);

// hwloc's own description of a made-up machine, such as "package:2 numa:2 l3:4 core:8 pu:2".
detail::Result<Machine> synthetic_machine(const std::string& description);

}  // namespace libcoll::topo
