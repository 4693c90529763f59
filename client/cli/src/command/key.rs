//! `defs key`: the owner's key.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use defs_client::keys::{Passphrase, export_key, import_key, save_key};
use defs_client::{Address, SecretKey};
use defs_core::port::Randomness as _;
use defs_launch::OsRandom;
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use crate::args::KeyCommand;
use crate::open;

pub(super) fn run(context: &Context, command: &KeyCommand) -> Result<()> {
    match command {
        KeyCommand::New { passphrase } => {
            let seed = Zeroizing::new(OsRandom.array::<32>());
            save(context, &SecretKey::from_seed(&seed), *passphrase)
        }
        KeyCommand::Show => {
            let key = open::key(&context.home, context.args.passphrase_file.as_deref())?;
            tell(context, &key);
            Ok(())
        }
        KeyCommand::Export { output } => export(context, output.as_deref()),
        KeyCommand::Import { path, passphrase } => {
            let text = read_secret(path.as_deref())?;
            save(context, &import_key(&text)?, *passphrase)
        }
    }
}

fn save(context: &Context, key: &SecretKey, protected: bool) -> Result<()> {
    let passphrase = if protected { Some(new_passphrase(context)?) } else { None };
    let path = context.home.key();
    std::fs::create_dir_all(context.home.path())
        .with_context(|| format!("failed to make {}", context.home.path().display()))?;
    save_key(&path, key, passphrase.as_ref(), OsRandom.array())?;
    tell(context, key);
    context.say.note(&format!(
        "the key is in {}; without it nobody can open your files: keep a copy (`defs key export`)",
        path.display()
    ));
    Ok(())
}

fn new_passphrase(context: &Context) -> Result<Passphrase> {
    if let Some(file) = &context.args.passphrase_file {
        return open::passphrase(Some(file), "");
    }
    let first = Zeroizing::new(rpassword::prompt_password("New passphrase: ")?);
    let second = Zeroizing::new(rpassword::prompt_password("The same again: ")?);
    if first.is_empty() {
        bail!("the passphrase is empty");
    }
    if *first != *second {
        bail!("the two passphrases differ");
    }
    Ok(Passphrase::new(first.to_string()))
}

fn tell(context: &Context, key: &SecretKey) {
    let address = Address::of(&key.public()).to_string();
    context
        .say
        .event(&json!({ "event": "key", "address": address }), || format!("address {address}"));
}

fn export(context: &Context, output: Option<&Path>) -> Result<()> {
    let key = open::key(&context.home, context.args.passphrase_file.as_deref())?;
    let text = export_key(&key);
    match output {
        Some(path) => {
            use std::io::Write as _;
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("failed to make {}", path.display()))?;
            writeln!(file, "{}", text.reveal())?;
            file.sync_all()?;
            context.say.note(&format!("whoever has {} can open your files", path.display()));
        }
        None => context.say.event(&json!({ "event": "exported", "key": text.reveal() }), || {
            text.reveal().to_owned()
        }),
    }
    Ok(())
}

fn read_secret(path: Option<&Path>) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    match path {
        Some(path) => {
            let read = std::fs::File::open(path)
                .and_then(|file| file.take(4096).read_to_string(&mut text));
            read.with_context(|| format!("failed to read {}", path.display()))?;
        }
        None => {
            std::io::stdin()
                .take(4096)
                .read_to_string(&mut text)
                .context("failed to read the key")?;
        }
    }
    Ok(text)
}
