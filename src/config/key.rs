//! What a key of the TOML is: its shape, what holds without it, and why. One table of these drives the reader,
//! `explain`, the JSON schema and `config/crosspatch.toml`, so that none of them can say something else.

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// As written between brackets; for an inline table the key it usually stands under.
    pub name: &'static str,
    pub form: Form,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// Further lines that the reference file shows, so that its examples refer to things that exist.
    pub more: &'static str,
}

/// How often a section stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `[name]`, at most once.
    One,
    /// `[[name]]`, so often at most.
    Many(usize),
    /// The value of a key.
    Inline,
}

/// One key of a section. Durations are whole numbers whose unit is the last word of the name.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub preset: Preset,
    pub doc: &'static str,
}

/// What may stand behind a key.
#[derive(Debug)]
pub enum Shape {
    /// Free text of at most so many characters, never empty.
    Text(usize),
    /// The id of a new thing.
    Id(Kind),
    /// The id of a thing that stands elsewhere in the file.
    Ref(Kind),
    /// A name spelled like an id, of something that has no table.
    Name,
    /// A whole number from least to most.
    Integer(i64, i64),
    /// Decibels from least to most, to two decimals.
    Decibels(i64, i64),
    Switch,
    Word(&'static [&'static str]),
    /// From least to most of one shape.
    List(&'static Shape, usize, usize),
    Table(&'static Section),
    /// A table, or only the value of its first key.
    Short(&'static Section),
    /// `192.0.2.7:5004` or `[2001:db8::7]:5004`.
    Address,
    /// The same without a port.
    Ip,
    /// `192.0.2.0/24`.
    Network,
    /// `40000-40999`.
    Ports,
    /// A date and time with its offset from UTC.
    Moment,
    /// SHA-256 in 64 hexadecimal digits. Never repeated in a fault.
    Digest,
}

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Agency,
    Talkgroup,
    Gateway,
    Agreement,
    Template,
    Trunk,
}

impl Kind {
    /// As people say it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Agency => "agency",
            Kind::Talkgroup => "talkgroup",
            Kind::Gateway => "gateway",
            Kind::Agreement => "agreement",
            Kind::Template => "template",
            Kind::Trunk => "trunk",
        }
    }
}

/// What holds where a key is not written.
#[derive(Debug)]
pub enum Preset {
    /// It must be written; an example.
    Required(&'static str),
    /// This value.
    Is(Plain),
    /// Depends on the gateway's `role`.
    ByRole { radio: Plain, phone: Plain, other: Plain },
    /// Nothing; an example, and what its absence means.
    Absent(&'static str, &'static str),
    /// Written instead of the other key named here; an example.
    Instead(&'static str, &'static str),
}

/// A value that a program can hold before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Integer(i64),
    Switch(bool),
    Text(&'static str),
    Texts(&'static [&'static str]),
    /// An inline table that is not written: each of its keys has its own default.
    Empty,
}

impl Section {
    /// Its key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
    /// Header as it stands in a file.
    pub fn header(&self) -> String {
        match self.form {
            Form::One => format!("[{}]", self.name),
            Form::Many(_) => format!("[[{}]]", self.name),
            Form::Inline => format!("{{ {} }}", self.name),
        }
    }
}

impl Key {
    /// The unit named by the last word of the key.
    pub fn unit(&self) -> Option<&'static str> {
        let (_, last) = self.name.rsplit_once('_')?;
        match last {
            "ms" => Some("milliseconds"),
            "s" => Some("seconds"),
            "db" => Some("decibels"),
            "hz" => Some("hertz"),
            _ => None,
        }
    }
    /// A value as it would be written, for the reference and for suggestions.
    pub fn example(&self) -> String {
        match &self.preset {
            Preset::Required(example) | Preset::Absent(example, _) | Preset::Instead(example, _) => (*example).into(),
            Preset::Is(plain) | Preset::ByRole { radio: plain, phone: _, other: _ } => plain.written(),
        }
    }
    /// The default in words, if it has one.
    pub fn default_in_words(&self) -> String {
        match &self.preset {
            Preset::Required(_) => "Required.".into(),
            Preset::Is(Plain::Empty) => "Default: its own keys' defaults.".into(),
            Preset::Is(plain) => format!("Default: {}.", plain.written()),
            Preset::ByRole { radio, phone, other } => format!(
                "Default: {} for role \"radio\", {} for \"phone\", {} for others.",
                radio.written(),
                phone.written(),
                other.written()
            ),
            Preset::Absent(_, meaning) => format!("Without it: {meaning}."),
            Preset::Instead(_, other) => format!("Stands instead of `{other}`."),
        }
    }
}

impl Shape {
    /// What is expected, for a fault's message.
    pub fn expected(&self) -> String {
        match self {
            Shape::Text(_) => "a text in quotes".into(),
            Shape::Id(_) | Shape::Name => "an id in quotes".into(),
            Shape::Ref(kind) => format!("the id of {} {} in quotes", article(kind.name()), kind.name()),
            Shape::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Shape::Decibels(least, most) => format!("decibels from {least} to {most}"),
            Shape::Switch => "true or false".into(),
            Shape::Word(words) => format!("one of {}", quoted_list(words)),
            Shape::List(of, _, _) => format!("a list, each {}", of.expected()),
            Shape::Table(section) => format!("a table {{ {} = ... }}", section.keys[0].name),
            Shape::Short(section) => {
                let first = &section.keys[0];
                format!("{} or a table {{ {} = ... }}", first.shape.expected(), first.name)
            }
            Shape::Address => "an address with port in quotes, such as \"192.0.2.7:5004\"".into(),
            Shape::Ip => "an IP address in quotes, such as \"192.0.2.1\"".into(),
            Shape::Network => "a network in quotes, such as \"192.0.2.0/24\"".into(),
            Shape::Ports => "a range of ports in quotes, such as \"40000-40999\"".into(),
            Shape::Moment => "a date and time with offset, without quotes, such as 2027-12-31T23:59:00Z".into(),
            Shape::Digest => "a SHA-256 in 64 hexadecimal digits in quotes".into(),
        }
    }
}

impl Plain {
    /// As TOML.
    pub fn written(self) -> String {
        match self {
            Plain::Integer(number) => number.to_string(),
            Plain::Switch(on) => on.to_string(),
            Plain::Text(text) => format!("{text:?}"),
            Plain::Texts(texts) => format!("[{}]", quoted_list(texts)),
            Plain::Empty => "{}".into(),
        }
    }
}

/// `a` or `an`.
pub fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn quoted_list(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}
