//! Who takes part in the demo.

/// One radio, console or phone of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    PoliceRadio,
    PoliceDesk,
    FireRadio,
    EmsRadio,
    /// Only where a softphone is installed.
    FireChief,
}

impl Party {
    /// The virtual ones.
    pub const RADIOS: [Party; 4] = [Party::PoliceRadio, Party::PoliceDesk, Party::FireRadio, Party::EmsRadio];
    pub const COUNT: usize = Party::RADIOS.len() + 1;

    /// Name of its files and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Party::PoliceRadio => "police-radio",
            Party::PoliceDesk => "police-desk",
            Party::FireRadio => "fire-radio",
            Party::EmsRadio => "ems-radio",
            Party::FireChief => "fire-chief",
        }
    }

    /// Its gateway or phone in `config/demo.toml`.
    pub const fn gateway(self) -> &'static str {
        match self {
            Party::PoliceRadio => "pd-gw-1",
            Party::PoliceDesk => "pd-desk",
            Party::FireRadio => "fd-gw-1",
            Party::EmsRadio => "ems-gw-1",
            Party::FireChief => "fd-chief",
        }
    }

    /// What it is, for the view.
    pub const fn about(self) -> &'static str {
        match self {
            Party::PoliceRadio => "Opus",
            Party::PoliceDesk => "Opus, hears a mix",
            Party::FireRadio => "G.711",
            Party::EmsRadio => "L16, trunked",
            Party::FireChief => "a softphone",
        }
    }
}
