//! The macro with which a crate declares a section: one place for type, default, range and documentation.

use crate::{
    merged::Merged,
    problems::Problems,
    spec::{OptionSpec, SectionSpec},
};

/// A section of the settings, declared with [`section!`](crate::section!).
pub trait Section: Sized {
    /// The path of the section, `cache.l1`.
    const PATH: &'static str;
    /// What the section is about: the lines of its doc comment.
    const HELP: &'static [&'static str];

    /// Describes its options in the order of their declaration.
    fn options() -> &'static [OptionSpec];

    /// Reads the section out of the merged sources; a value that can't be read becomes a problem and its default.
    fn read(merged: &Merged, problems: &mut Problems) -> Self;

    /// Describes the section.
    fn spec() -> SectionSpec {
        SectionSpec {
            path: Self::PATH,
            help: Self::HELP,
            options: Self::options(),
        }
    }
}

/// Declares a section: a struct of public fields with defaults, and its [`Section`](crate::Section).
///
/// ```
/// neverstale_settings::section! {
///     /// Memory of this process.
///     pub struct ExampleSettings = "example";
///     /// Limits the memory that entries take together.
///     bytes_max: u64 = 64 * 1024, unit "bytes", range 1024..=u64::MAX, when "raise it when memory is free";
///     /// Chooses the shape of log lines.
///     format: String = "text", one_of ["text", "json"], when "json for machines";
///     /// Names a file that is read again when it changes.
///     key_file: Option<PathBuf> = None, unit "path", when "to seal values", live;
/// }
/// assert_eq!(ExampleSettings::default().bytes_max, 65_536);
/// ```
///
/// Types: `u64`, `u32`, `bool`, `String`, `PathBuf`, `Secret`, `Texts` and `Option` of them. After the default come, in
/// this order: `unit`, `range` (numbers), `one_of` (texts), `when` (when one would change it; an option without an
/// answer is a constant) and `live` (a change takes effect without restart). Only `when` must be there.
#[macro_export]
macro_rules! section {
    (@type PathBuf) => { ::std::path::PathBuf };
    (@type String) => { ::std::string::String };
    (@type Secret) => { $crate::Secret };
    (@type Texts) => { $crate::Texts };
    (@type $type:ident) => { $type };
    (@type Option < $inner:ident >) => { ::std::option::Option<$crate::section!(@type $inner)> };

    (@default String, $default:expr) => { ::std::string::String::from($default) };
    (@default PathBuf, $default:expr) => { ::std::path::PathBuf::from($default) };
    (@default Secret, $default:expr) => { $crate::Secret::from($default) };
    (@default $type:ident, $default:expr) => { $default };

    (@range $type:ident, $range:expr) => {{
        let range: ::std::ops::RangeInclusive<$type> = $range;
        ::std::option::Option::Some(((*range.start()).into(), (*range.end()).into()))
    }};

    (
        $(#[doc = $help:literal])+
        $visibility:vis struct $section:ident = $path:literal;
        $(
            $(#[doc = $doc:literal])+
            $name:ident : $type:ident $(< $inner:ident >)? = $default:expr
                $(, unit $unit:literal)?
                $(, range $range:expr)?
                $(, one_of [$($choice:literal),+ $(,)?])?
                , when $when:literal
                $(, $live:ident)?;
        )+
    ) => {
        $(#[doc = $help])+
        #[derive(Clone, Debug)]
        $visibility struct $section {
            $(
                $(#[doc = $doc])+
                pub $name: $crate::section!(@type $type $(< $inner >)?),
            )+
        }

        impl ::std::default::Default for $section {
            fn default() -> Self {
                Self { $($name: $crate::section!(@default $type, $default),)+ }
            }
        }

        impl $crate::Section for $section {
            const PATH: &'static str = $path;
            const HELP: &'static [&'static str] = &[$($help),+];

            fn options() -> &'static [$crate::OptionSpec] {
                static OPTIONS: ::std::sync::LazyLock<::std::vec::Vec<$crate::OptionSpec>> =
                    ::std::sync::LazyLock::new(|| {
                        let default = <$section as ::std::default::Default>::default();
                        ::std::vec![$({
                            let spec = $crate::OptionSpec::of(
                                &default.$name, ::std::stringify!($name), &[$($doc),+], $when,
                            );
                            $(let spec = $crate::OptionSpec { unit: ::std::option::Option::Some($unit), ..spec };)?
                            $(let spec = $crate::OptionSpec { range: $crate::section!(@range $type, $range), ..spec };)?
                            $(let spec = $crate::OptionSpec { one_of: &[$($choice),+], ..spec };)?
                            $(let spec = $crate::OptionSpec { live: ::std::stringify!($live) == "live", ..spec };)?
                            spec
                        }),+]
                    });
                &OPTIONS
            }

            fn read(merged: &$crate::Merged, problems: &mut $crate::Problems) -> Self {
                let default = <Self as ::std::default::Default>::default();
                let mut options = <Self as $crate::Section>::options().iter();
                Self {
                    $($name: merged.read($path, options.next().expect("one spec per field"), default.$name, problems),)+
                }
            }
        }
    };
}
