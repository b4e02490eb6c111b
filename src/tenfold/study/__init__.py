"""What experiments do alike. Import names from their modules: some are read before torch is loaded.

    stages         made_once, policy_made_once, json_made_once, agreed     what the arms of a seed share, made once
    questions      Question, read_questions, as_dataset, as_demonstrations, answers_of, reference_of, with_facts
    language       PolicyConfig, build_policy, prompt_ids, evaluated_as    policies as a configuration says
    tuning         at_rate, with_value, chosen_fields, try_rates           learning rates by one grid
    own_training   OwnTraining, train_in, refuse_unread, save_trained      training on a user's own data
    memory         training_bytes                                          of a transformer that a study trains
    pictures       finished, colours, panels, draw_curves, draw_bars, draw_text, finish
    sources        source_table, merged, unstated                          where published values come from

``language``, ``sources`` and ``tuning`` import no torch at module level, so that a paper's configuration may use them.
"""
