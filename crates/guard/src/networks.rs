//! Lists of networks, such as `10.0.0.0/8, fd00::/8, 192.168.1.7`.

use std::net::IpAddr;

/// Addresses that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// Reads a list separated by commas; an address by itself is a network of one.
    ///
    /// # Errors
    /// The word that is no network.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Says whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether a network is wider than any that belongs to one house: a /8, for IPv6 a /7 as the unique local addresses are.
    pub fn are_too_wide(&self) -> bool {
        let is_too_wide = |(network, bits): &(IpAddr, u8)| *bits < if network.is_ipv4() { 8 } else { 7 };
        self.0.iter().any(is_too_wide)
    }

    /// Says whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(network, bits)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        })
    }
}

fn network(word: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("`{word}` is neither an address nor a network such as 10.0.0.0/8");
    let (address, bits) = match word.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(bits_max);
    if bits > bits_max {
        return Err(wrong());
    }
    Ok((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        let networks = Networks::parse("10.0.0.0/8, fd00::/8 ,192.168.1.7,").unwrap();
        for inside in ["10.9.8.7", "fd12::1", "192.168.1.7", "::ffff:10.0.0.1"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "fe80::1", "192.168.1.8", "::1"] {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        let all = Networks::parse("0.0.0.0/0").unwrap();
        assert!(all.contain("1.2.3.4".parse().unwrap()) && !all.contain("::1".parse().unwrap()));
        assert!(all.are_too_wide() && !networks.are_too_wide() && !networks.is_empty());
        assert!(Networks::parse("fc00::/7, 10.0.0.0/8").is_ok_and(|networks| !networks.are_too_wide()));
    }

    #[test]
    fn what_is_no_network_is_said() {
        for wrong in ["10.0.0.0/33", "10.0.0", "host", "::/129", "10.0.0.0/x"] {
            assert!(Networks::parse(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
