//! A program as it goes into an image: static, without debug information.
//!
//! What `strip` leaves depends on its version, so that two machines would make two images of
//! one binary. A crate does it here, and Cargo.lock names its version. Symbols stay: they are
//! a sixth of what is left, and a backtrace without them tells nothing.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::build::elf::Builder;
use object::elf;
use object::write::StreamingBuffer;

/// Sections that only a debugger reads.
const DEBUG: &[u8] = b".debug_";

/// Named like those, but loaded with the program.
const LOADED: &[u8] = b".debug_gdb_scripts";

/// A machine that images are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Amd64,
    Arm64,
}

impl Machine {
    /// As image configurations name it.
    pub(crate) fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Cargo names it.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// A static program without debug information.
#[derive(Debug)]
pub(crate) struct Stripped {
    /// What it runs on.
    pub(crate) machine: Machine,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

/// Reads the binary that Cargo built.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| {
        format!(
            "failed to read {}: build it with `cargo build --workspace --release`",
            path.display()
        )
    })
}

/// Refuses what needs a loader or libraries, and drops debug information.
pub(crate) fn strip(binary: &[u8]) -> Result<Stripped> {
    let mut program = Builder::read(binary).context("this is no ELF file")?;
    let machine = match program.header.e_machine {
        elf::EM_X86_64 => Machine::Amd64,
        elf::EM_AARCH64 => Machine::Arm64,
        other => bail!("images are for x86-64 and AArch64, this is for machine {other:?}"),
    };
    if program.segments.iter().any(|segment| segment.p_type == elf::PT_INTERP) {
        bail!(
            "it is dynamically linked, and an image holds neither loader nor libraries: build it \
             with the flags of .cargo/config.toml (`-C target-feature=+crt-static`)"
        );
    }
    for section in &mut program.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(DEBUG) && name != LOADED;
    }
    let mut bytes = Vec::new();
    program.write(&mut StreamingBuffer::new(&mut bytes)).context("failed to write it anew")?;
    Ok(Stripped { machine, bytes })
}

#[cfg(test)]
pub(crate) mod tests {
    use object::Endianness;
    use object::build::elf::SectionData;

    use super::*;

    /// The smallest ELF file with a segment of this kind, a section of text and one for the
    /// debugger.
    pub(crate) fn elf_with(segment: elf::ProgramType, text: &'static [u8]) -> Vec<u8> {
        let mut program = Builder::new(Endianness::Little, true);
        program.header.e_machine = elf::EM_X86_64;
        program.header.e_type = elf::ET_DYN;
        program.header.e_phoff = 64;
        program.segments.add().p_type = segment;
        for (name, data) in [(&b".text"[..], text), (b".debug_info", b"lines"), (b".shstrtab", b"")]
        {
            let section = program.sections.add();
            section.name = name.into();
            if name == b".shstrtab" {
                section.sh_type = elf::SHT_STRTAB;
                section.data = SectionData::SectionString;
            } else {
                section.sh_type = elf::SHT_PROGBITS;
                section.sh_addralign = 1;
                section.data = SectionData::Data(data.into());
            }
        }
        let mut bytes = Vec::new();
        program.write(&mut StreamingBuffer::new(&mut bytes)).unwrap();
        bytes
    }

    fn names(file: &[u8]) -> Vec<String> {
        let program = Builder::read(file).unwrap();
        program.sections.iter().map(|section| section.name.to_string()).collect()
    }

    #[test]
    fn debug_information_goes_and_the_rest_stays() {
        let binary = elf_with(elf::PT_LOAD, b"code");
        assert_eq!(names(&binary), [".text", ".debug_info", ".shstrtab"]);
        let stripped = strip(&binary).unwrap();
        assert_eq!(names(&stripped.bytes), [".text", ".shstrtab"]);
        assert_eq!(stripped.machine, Machine::Amd64);
    }

    #[test]
    fn the_same_binary_is_stripped_to_the_same_bytes() {
        let binary = elf_with(elf::PT_LOAD, b"code");
        let (once, again) = (strip(&binary).unwrap(), strip(&binary).unwrap());
        assert_eq!(once.bytes, again.bytes);
        let twice = strip(&once.bytes).unwrap();
        assert_eq!(once.bytes, twice.bytes, "there is nothing left to strip");
    }

    #[test]
    fn a_real_static_program_keeps_its_segments() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let stripped = strip(&own).unwrap().bytes;
        assert!(stripped.len() < own.len());
        let segments = |file: &[u8]| -> Vec<_> {
            let program = Builder::read(file).unwrap();
            let place =
                |one: &object::build::elf::Segment<'_>| (one.p_offset, one.p_vaddr, one.p_filesz);
            program.segments.iter().map(place).collect()
        };
        assert_eq!(segments(&stripped), segments(&own));
    }

    #[test]
    fn a_dynamic_program_is_refused_with_the_flag_that_makes_it_static() {
        let refused = strip(&elf_with(elf::PT_INTERP, b"code")).unwrap_err().to_string();
        assert!(refused.starts_with("it is dynamically linked"), "{refused}");
        assert!(refused.contains("-C target-feature=+crt-static"), "{refused}");
    }

    #[test]
    fn a_script_is_refused() {
        assert_eq!(strip(b"#!/bin/sh\n").unwrap_err().to_string(), "this is no ELF file");
    }

    #[test]
    fn a_missing_binary_is_refused_with_the_command_that_builds_it() {
        let refused = read(Path::new("/nowhere/defs-node")).unwrap_err().to_string();
        assert_eq!(
            refused,
            "failed to read /nowhere/defs-node: build it with `cargo build --workspace --release`"
        );
    }
}
