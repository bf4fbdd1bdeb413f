//! Compiles `proto/ext_authz.proto` into Rust without a `protoc` on the machine.

#[expect(clippy::disallowed_macros, reason = "this is how a build script talks to cargo")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../../proto/ext_authz.proto");
    let descriptors = protox::compile(["ext_authz.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
