//! Delays around the world, between thirteen cities where computers are rented.
//!
//! Light in fibre covers 200 km in a millisecond; cables take about 1.4 times the shortest way (measured between the regions of
//! large clouds the factor is 1.3 to 2), and a millisecond goes to what stands at both ends.

/// A region: its name, latitude and longitude in degrees.
pub const REGIONS: [(&str, f64, f64); 13] = [
    ("virginia", 38.9, -77.4),
    ("oregon", 45.8, -119.7),
    ("sao-paulo", -23.5, -46.6),
    ("dublin", 53.3, -6.3),
    ("frankfurt", 50.1, 8.7),
    ("stockholm", 59.3, 18.1),
    ("cape-town", -33.9, 18.4),
    ("bahrain", 26.1, 50.6),
    ("mumbai", 19.1, 72.9),
    ("singapore", 1.3, 103.8),
    ("hong-kong", 22.3, 114.2),
    ("tokyo", 35.7, 139.7),
    ("sydney", -33.9, 151.2),
];

const EARTH_RADIUS_KM: f64 = 6_371.0;
const FIBRE_KM_PER_MS: f64 = 200.0;
const DETOUR: f64 = 1.4;
const ENDS_MS: f64 = 1.0;

/// The time that a packet takes from one region to another, in milliseconds. Regions are counted around the list.
pub fn delay_ms(from: usize, to: usize) -> u64 {
    let place = |region: usize| {
        let (_, latitude, longitude) = REGIONS[region % REGIONS.len()];
        (f64::to_radians(latitude), f64::to_radians(longitude))
    };
    let ((latitude, longitude), (other_latitude, other_longitude)) = (place(from), place(to));
    // Haversine: exact for near places as well.
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(other_latitude - latitude)
        + latitude.cos() * other_latitude.cos() * half(other_longitude - longitude);
    let distance_km = 2.0 * EARTH_RADIUS_KM * chord.sqrt().asin();
    (ENDS_MS + distance_km / FIBRE_KM_PER_MS * DETOUR).round() as u64
}
