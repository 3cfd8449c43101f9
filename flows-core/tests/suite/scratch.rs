//! The slot of a block: a value of any type, kept until another type is asked for.

use flows_core::Scratch;

#[test]
fn a_slot_keeps_its_value_until_another_type_is_asked_for() {
    let mut slot = Scratch::new();
    slot.or_default::<Vec<f64>>().push(1.0);
    assert_eq!(slot.or_default::<Vec<f64>>().len(), 1);
    assert_eq!(slot.left::<Vec<f64>>(), &[1.0]);
    assert!(slot.or_default::<Vec<f32>>().is_empty());
}

#[test]
#[should_panic(expected = "was left here")]
fn asking_for_what_was_not_left_is_a_mistake_that_shows() {
    Scratch::new().left::<u64>();
}
