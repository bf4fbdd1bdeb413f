use super::*;

#[test]
fn the_built_in_flavours_load() {
    for name in Flavour::BUILTIN_NAMES {
        let flavour = Flavour::parse(Flavour::builtin(name).unwrap(), &format!("{name}.toml"));
        assert_eq!(flavour.map(|flavour| flavour.name).map_err(|error| error.to_string()).as_deref(), Ok(name));
    }
}
