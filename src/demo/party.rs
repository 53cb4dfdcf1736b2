//! Who takes part in the demo.

/// One radio or console of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    PoliceRadio,
    PoliceDesk,
    FireRadio,
    EmsRadio,
}

impl Party {
    pub const ALL: [Party; 4] = [Party::PoliceRadio, Party::PoliceDesk, Party::FireRadio, Party::EmsRadio];

    /// Name of its files and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Party::PoliceRadio => "police-radio",
            Party::PoliceDesk => "police-desk",
            Party::FireRadio => "fire-radio",
            Party::EmsRadio => "ems-radio",
        }
    }

    /// Its gateway in `config/demo.toml`.
    pub const fn gateway(self) -> &'static str {
        match self {
            Party::PoliceRadio => "pd-gw-1",
            Party::PoliceDesk => "pd-desk",
            Party::FireRadio => "fd-gw-1",
            Party::EmsRadio => "ems-gw-1",
        }
    }

    /// What it is, for the view.
    pub const fn about(self) -> &'static str {
        match self {
            Party::PoliceRadio => "Opus",
            Party::PoliceDesk => "Opus, hears a mix",
            Party::FireRadio => "G.711",
            Party::EmsRadio => "L16, trunked",
        }
    }
}
