//! Compiles the protobuf files without an installed `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        protox::compile(["defs/peer/v1/peer.proto", "defs/admin/v1/admin.proto"], ["proto"])?;
    tonic_prost_build::configure().build_transport(true).compile_fds(files)?;
    Ok(())
}
